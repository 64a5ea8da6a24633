import uuid
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from k9ops.config.settings import Settings
from k9ops.db.sample import seed
from k9ops.errors import PermanentError
from k9ops.outcome import Execution
from k9ops.upkeep.schedules import lock_schedules

DAY = date(2026, 11, 24)
# 23:59 in Riyadh on the 24th; a minute later UTC has still the same day, Riyadh the next.
BEFORE_MIDNIGHT, AFTER_MIDNIGHT = "2026-11-24T20:59:00+00:00", "2026-11-24T21:00:00+00:00"


@pytest.fixture(params=["A", "B"])
def application(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    seed(engine, request.param, today=DAY)
    with engine.begin() as connection:
        connection.execute(text("UPDATE public.daily_schedule SET status = 'LOCKED'"))
        connection.execute(
            text("UPDATE public.daily_schedule SET status = 'OPEN' WHERE date >= :day"),
            {"day": DAY - timedelta(days=3)},
        )
    return engine


def query(engine: Engine, statement: str, **values: Any) -> list[Mapping[str, Any]]:
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(text(statement), values).mappings()]


def count_open(engine: Engine, condition: str) -> int:
    statement = f"SELECT count(*) AS n FROM public.daily_schedule WHERE status = 'OPEN' AND date {condition} :day"
    return int(query(engine, statement, day=DAY)[0]["n"])


def test_lock_schedules_locks_the_days_before_the_slots_local_day(application: Engine, settings: Settings) -> None:
    past, today = count_open(application, "<"), count_open(application, "=")
    assert past > 0
    assert today > 0
    execution = Execution(uuid.uuid4())
    outcome = lock_schedules(settings, application, execution=execution, slot=BEFORE_MIDNIGHT)
    assert (outcome.state, outcome.evidence["locked"], outcome.evidence["audited"]) == ("succeeded", past, past)
    assert (count_open(application, "<"), count_open(application, "=")) == (0, today)
    audit = query(application, "SELECT * FROM k9ops.audit_event")
    assert len({row["target_id"] for row in audit}) == len(audit) == past
    assert {row["run_id"] for row in audit} == {execution.run_id}
    again = lock_schedules(settings, application, execution=Execution(), slot=BEFORE_MIDNIGHT)
    assert (again.state, again.evidence["locked"]) == ("skipped", 0)
    later = lock_schedules(settings, application, execution=Execution(), slot=AFTER_MIDNIGHT)
    assert later.evidence["locked"] == today


def test_lock_schedules_sets_locked_at_where_the_column_exists(application: Engine, settings: Settings) -> None:
    lock_schedules(settings, application, execution=Execution(), slot=BEFORE_MIDNIGHT)
    rows = query(
        application,
        "SELECT to_jsonb(s) AS row, updated_at > (now() AT TIME ZONE 'UTC') - interval '1 min' AS is_fresh"
        " FROM public.daily_schedule s JOIN k9ops.audit_event a ON a.target_id = s.id::text",
    )
    assert rows
    assert all(row["is_fresh"] for row in rows)
    assert all(row["row"]["locked_at"] for row in rows if "locked_at" in row["row"])


def test_lock_schedules_only_lists_when_asked_to(application: Engine, settings: Settings) -> None:
    past = count_open(application, "<")
    outcome = lock_schedules(settings, application, execution=Execution(), slot=BEFORE_MIDNIGHT, dry_run=True)
    assert (outcome.state, outcome.evidence["open"], count_open(application, "<")) == ("skipped", past, past)
    assert query(application, "SELECT * FROM k9ops.audit_event") == []


def test_lock_schedules_writes_the_applications_audit_log_for_a_named_user(
    application: Engine, settings: Settings
) -> None:
    (user,) = query(application, 'SELECT id, username FROM public."user" LIMIT 1')
    before = query(application, "SELECT count(*) AS n FROM public.audit_log")[0]["n"]
    named = settings.model_copy(update={"audit_username": user["username"]})
    outcome = lock_schedules(named, application, execution=Execution(), slot=BEFORE_MIDNIGHT)
    rows = query(application, "SELECT * FROM public.audit_log WHERE description = 'Locked automatically.'")
    assert len(rows) == outcome.evidence["locked"]
    assert {row["user_id"] for row in rows} == {user["id"]}
    assert query(application, "SELECT count(*) AS n FROM public.audit_log")[0]["n"] == before + len(rows)


def test_lock_schedules_changes_nothing_when_the_audit_user_is_unknown(application: Engine, settings: Settings) -> None:
    past = count_open(application, "<")
    unknown = settings.model_copy(update={"audit_username": "nobody"})
    with pytest.raises(PermanentError, match="'nobody': the application has no such user"):
        lock_schedules(unknown, application, execution=Execution(), slot=BEFORE_MIDNIGHT)
    assert count_open(application, "<") == past
