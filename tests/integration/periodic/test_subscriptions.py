"""Reports by the timetable: each slot of each subscription once, as of its own day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from k9ops.config.settings import get_settings
from k9ops.db.audit import list_events
from k9ops.db.report_subscriptions import Subscription, add_subscription, list_subscriptions, remove_subscription
from k9ops.errors import ParamsInvalid, SubscriptionConflict, SubscriptionUnknown
from k9ops.ledger.requests import list_runs
from k9ops.ledger.slots import read_schedule_states
from k9ops.periodic.dispatcher import DispatchedSlot, dispatch_due_slots, load_timetable
from k9ops.periodic.timetable import check_cron

START = datetime(2036, 11, 23, 3, 0, 0, 300, tzinfo=UTC)  # a Sunday, 06:00 in Riyadh
DAY = timedelta(days=1)


def subscription(name: str, **changes: object) -> Subscription:
    values: dict[str, object] = {
        "report": "dogs", "params": {}, "format": "csv", "cron": "0 6 * * *", "recipients": ("drive",),
        "skip_if_empty": False, "created_by": "chief",
    }  # fmt: skip
    return Subscription(name=name, **{**values, **changes})  # type: ignore[arg-type]


def tick(engine: Engine, now: datetime) -> list[DispatchedSlot]:
    from k9ops.actors import broker  # the jobs themselves: nothing is sent here

    found = dispatch_due_slots(engine, broker, get_settings(), now=now)
    return [item for item in found if item.schedule.startswith("report:")]


def test_subscriptions_of_one_slot_get_a_run_each_and_only_once(engine: Engine) -> None:
    tick(engine, START - timedelta(minutes=5))
    for name in ("a", "b"):
        add_subscription(engine, subscription(name))
    tick(engine, START - timedelta(minutes=1))
    assert [(item.schedule, item.is_new) for item in tick(engine, START)] == [("report:a", True), ("report:b", True)]
    assert tick(engine, START + timedelta(minutes=1)) == []
    runs = list_runs(engine, job="create_report")
    assert {run.params["as_of"] for run in runs} == {START.replace(microsecond=0).isoformat()}
    assert [(run.trigger, run.slot, run.params["deliver_to"]) for run in runs] == [("schedule", None, ["drive"])] * 2


def test_slot_that_has_its_run_gets_no_second_when_the_clock_was_set_back(engine: Engine) -> None:
    add_subscription(engine, subscription("a"))
    tick(engine, START)
    tick(engine, START - timedelta(hours=1))  # the clock is put right
    (again,) = tick(engine, START)
    assert not again.is_new
    assert len(list_runs(engine, job="create_report")) == 1


def test_downtime_is_made_up_for_by_the_latest_slot_as_of_its_own_day(engine: Engine) -> None:
    add_subscription(engine, subscription("a"))
    tick(engine, START)
    (made_up,) = tick(engine, START + 3 * DAY + timedelta(hours=5))
    assert made_up.slot == (START + 3 * DAY).replace(microsecond=0)
    newest = max(list_runs(engine, job="create_report"), key=lambda run: run.params["as_of"])
    assert newest.params["as_of"] == made_up.slot.isoformat()
    assert read_schedule_states(engine)["report:a"].missed == 2


def test_subscription_that_ended_makes_no_more_runs(engine: Engine) -> None:
    add_subscription(engine, subscription("a"))
    with pytest.raises(SubscriptionConflict, match="choose another --name"):
        add_subscription(engine, subscription("a"))
    remove_subscription(engine, "a", removed_by="chief")
    assert (list_subscriptions(engine), tick(engine, START)) == ([], [])
    with engine.begin() as connection:
        found = [item.action for item in list_events(connection, target_type="report_subscription")]
    assert found == ["unsubscribe", "subscribe"]
    with pytest.raises(SubscriptionUnknown):
        remove_subscription(engine, "a", removed_by="chief")


def test_subscription_of_a_former_name_makes_up_for_nothing(engine: Engine) -> None:
    add_subscription(engine, subscription("a"))
    tick(engine, START)
    remove_subscription(engine, "a", removed_by="chief")
    add_subscription(engine, subscription("a"))
    assert tick(engine, START + 3 * DAY + timedelta(hours=5)) == []


def test_timetable_goes_on_without_reports_while_their_table_is_missing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE k9ops.report_subscription"))
    assert {item.name for item in load_timetable(get_settings(), engine)} > {"lock_schedules", "create_backup"}


@pytest.mark.parametrize("text", ["", "* * * *", "0 6 * * * *", "61 * * * *", "0 6 31 2 *", "every day"])
def test_cron_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParamsInvalid, match="cron = "):
        check_cron(text, get_settings().zone)


def test_cron_is_kept_in_one_form() -> None:
    assert check_cron(" 0  6 * * 0 ", get_settings().zone) == "0 6 * * 0"
