"""Retention: examples a person can check, and what must hold for every folder and policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backups.making import make_backup

from k9ops.backups.catalogue import Backup
from k9ops.backups.retention import RetentionPolicy, number_arrivals, plan_retention
from k9ops.errors import PolicyInvalid

RIYADH = ZoneInfo("Asia/Riyadh")
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)

zones = st.sampled_from([RIYADH, ZoneInfo("UTC"), ZoneInfo("America/Los_Angeles"), ZoneInfo("Europe/Berlin")])
numbers = st.integers(0, 12)
policies = st.builds(RetentionPolicy, numbers, numbers, numbers, numbers).filter(
    lambda policy: any((policy.retention_days, policy.daily, policy.weekly, policy.monthly))
)
states = st.sampled_from(["unverified", "verified", "failed"])


@st.composite
def folders(draw: st.DrawFn) -> list[Backup]:
    rows = draw(st.lists(st.tuples(st.integers(0, 24 * 800), states, st.booleans()), max_size=40))
    return [
        make_backup(NOW - timedelta(hours=age_hours), number=number, state=state, pinned=pinned and number % 4 == 0)
        for number, (age_hours, state, pinned) in enumerate(rows)
    ]


def ids(decisions: object) -> set[str]:
    return {decision.backup.backup_id for decision in decisions}  # type: ignore[attr-defined]


@given(folders(), policies, zones)
def test_plan_retention_decides_about_each_backup_once(
    backups: list[Backup], policy: RetentionPolicy, zone: ZoneInfo
) -> None:
    plan = plan_retention(backups, policy, now=NOW, zone=zone)
    assert ids(plan.keep) & ids(plan.delete) == set()
    assert ids(plan.keep) | ids(plan.delete) == {backup.backup_id for backup in backups}
    assert len(plan.keep) + len(plan.delete) == len(backups)
    assert all(decision.reason for decision in (*plan.keep, *plan.delete))


@given(folders(), policies, zones)
def test_plan_retention_never_deletes_what_may_be_the_only_good_copy(
    backups: list[Backup], policy: RetentionPolicy, zone: ZoneInfo
) -> None:
    deleted = plan_retention(backups, policy, now=NOW, zone=zone).delete
    verified = [backup.created_at for backup in backups if backup.verification_state == "verified"]
    for decision in deleted:
        assert not decision.backup.is_pinned
        assert verified, "without a verified backup nothing may go"
        assert decision.backup.created_at <= max(verified)
    if verified:
        newest = max(
            (backup for backup in backups if backup.verification_state == "verified"),
            key=lambda backup: (backup.created_at, backup.backup_id),
        )
        assert newest.backup_id not in ids(deleted)


@given(folders(), policies, zones)
def test_plan_retention_finds_nothing_more_to_delete_when_planned_again(
    backups: list[Backup], policy: RetentionPolicy, zone: ZoneInfo
) -> None:
    kept = [decision.backup for decision in plan_retention(backups, policy, now=NOW, zone=zone).keep]
    assert plan_retention(kept, policy, now=NOW, zone=zone).delete == ()


@given(folders(), policies, policies, zones, st.integers(0, 1000))
def test_plan_retention_keeps_no_less_when_the_policy_is_wider_or_it_is_earlier(
    backups: list[Backup], policy: RetentionPolicy, more: RetentionPolicy, zone: ZoneInfo, hours: int
) -> None:
    wider = RetentionPolicy(
        policy.retention_days + more.retention_days,
        policy.daily + more.daily,
        policy.weekly + more.weekly,
        policy.monthly + more.monthly,
    )
    kept = ids(plan_retention(backups, policy, now=NOW, zone=zone).keep)
    assert kept <= ids(plan_retention(backups, wider, now=NOW, zone=zone).keep)
    assert kept >= ids(plan_retention(backups, policy, now=NOW + timedelta(hours=hours), zone=zone).keep)


def test_plan_retention_keeps_the_newest_verified_of_each_period() -> None:
    backups = [make_backup(NOW - timedelta(hours=12 * step), number=step) for step in range(120)]
    plan = plan_retention(backups, RetentionPolicy(0, daily=3, weekly=2, monthly=2), now=NOW, zone=RIYADH)
    kept = {decision.backup.created_at: decision.reason for decision in plan.keep}
    assert kept == {
        datetime(2026, 3, 15, 12, tzinfo=UTC): "newest verified",
        datetime(2026, 3, 14, 12, tzinfo=UTC): "newest verified of day 2026-03-14",
        datetime(2026, 3, 13, 12, tzinfo=UTC): "newest verified of day 2026-03-13",
        datetime(2026, 3, 8, 12, tzinfo=UTC): "newest verified of week 2026-W10",
        datetime(2026, 2, 28, 12, tzinfo=UTC): "newest verified of month 2026-02",
    }


def test_plan_retention_takes_days_from_the_units_time_zone() -> None:
    before_midnight_in_riyadh = make_backup(datetime(2026, 3, 1, 20, 59, tzinfo=UTC), number=1)
    after_midnight_in_riyadh = make_backup(datetime(2026, 3, 1, 21, 1, tzinfo=UTC), number=2)
    backups = [before_midnight_in_riyadh, after_midnight_in_riyadh]
    policy = RetentionPolicy(0, daily=2, weekly=0, monthly=0)
    assert plan_retention(backups, policy, now=NOW, zone=RIYADH).delete == ()
    in_utc = plan_retention(backups, policy, now=NOW, zone=ZoneInfo("UTC"))
    assert ids(in_utc.delete) == {before_midnight_in_riyadh.backup_id}


def test_plan_retention_lets_no_unverified_backup_stand_for_a_period() -> None:
    day = timedelta(days=1)
    backups = [
        make_backup(NOW, number=0),
        make_backup(NOW - day, number=1, state="unverified"),
        make_backup(NOW - 2 * day, number=2),
        make_backup(NOW - 3 * day, number=3, state="failed"),
    ]
    plan = plan_retention(backups, RetentionPolicy(0, daily=2, weekly=0, monthly=0), now=NOW, zone=RIYADH)
    assert ids(plan.keep) == {backups[0].backup_id, backups[2].backup_id}
    assert [decision.reason for decision in plan.delete] == [
        "too old and unverified; a newer backup is verified",
        "too old and failed; a newer backup is verified",
    ]


@pytest.mark.parametrize("numbers", [(0, 0, 0, 0), (30, -1, 0, 0)])
def test_plan_retention_refuses_a_policy_that_keeps_nothing_or_is_negative(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(PolicyInvalid):
        plan_retention([], RetentionPolicy(*numbers), now=NOW, zone=RIYADH)


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(days=60), datetime(2099, 1, 1, tzinfo=UTC)])
def test_plan_retention_lets_nothing_expire_by_an_outage_or_a_clock_that_is_ahead(now: datetime) -> None:
    backups = [make_backup(NOW - timedelta(days=age), number=age) for age in range(10)]
    policy = RetentionPolicy(10, daily=0, weekly=0, monthly=0)
    assert plan_retention(backups, policy, now=now, zone=RIYADH).delete == ()


def test_plan_retention_is_not_misled_by_a_backup_dated_in_the_future() -> None:
    """It came before the others, so it is not the newest, and it goes when its time has come."""
    made = [datetime(2099, 1, 1, tzinfo=UTC), *(NOW - timedelta(days=age) for age in (3, 2, 1))]
    backups = [
        replace(backup, state=backup.state.model_copy(update={"arrival": number}))
        for number, backup in enumerate([make_backup(moment, number=n) for n, moment in enumerate(made)], 1)
    ]
    plan = plan_retention(backups, RetentionPolicy(0, daily=2, weekly=0, monthly=0), now=NOW, zone=RIYADH)
    assert ids(plan.keep) == {backups[2].backup_id, backups[3].backup_id}
    fresh = plan_retention(backups[:2], RetentionPolicy(0, daily=1, weekly=0, monthly=0), now=NOW, zone=RIYADH)
    assert ids(fresh.keep) == {backups[1].backup_id}
    unknown = [make_backup(moment, number=n) for n, moment in enumerate(made)]
    plan = plan_retention(unknown, RetentionPolicy(0, daily=1, weekly=0, monthly=0), now=NOW, zone=RIYADH)
    assert ids(plan.keep) == {unknown[0].backup_id, unknown[3].backup_id}, "which came last is not known"


def test_number_arrivals_goes_on_from_the_last_number() -> None:
    first, second, third = (make_backup(NOW - timedelta(days=age), number=age) for age in (3, 2, 1))
    third = replace(third, state=third.state.model_copy(update={"arrival": 7}))
    assert number_arrivals([third, second, first]) == {first.backup_id: 8, second.backup_id: 9}
