from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from periodiq import cron as periodiq_cron

from k9ops.config.settings import load_settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.periodic.timetable import (
    CatchUp,
    Schedule,
    backup_cron,
    build_timetable,
    find_next_slot,
    find_slots,
    plan_slots,
)

RIYADH, BERLIN, PARIS, CAIRO = (
    ZoneInfo(name) for name in ("Asia/Riyadh", "Europe/Berlin", "Europe/Paris", "Africa/Cairo")
)
MINUTE = timedelta(minutes=1)


def local(zone: ZoneInfo, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def slots_between(cron: str, zone: ZoneInfo, after: str, until: str) -> list[str]:
    found = find_slots(cron, zone, after=local(zone, after), until=local(zone, until))
    return [f"{slot.astimezone(zone):%Y-%m-%d %H:%M}" for slot in found]


# The findings about periodiq: how often each of these must fire in a year, and did not.
@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("0 0 * * 0", RIYADH, 52),
        ("0 8 * * 0", RIYADH, 52),
        ("0 8 * * sun", RIYADH, 52),
        ("0 8 * * 7", RIYADH, 52),
        ("0 8 * * 0-6", RIYADH, 365),
        ("0 8 * * 0-4", RIYADH, 260),
        ("0 8 * * 0-4,7", RIYADH, 260),
        ("0,30 6 * * *", RIYADH, 730),
        ("*/15 8 * * *", RIYADH, 1460),
        ("0 5,17 * * 1", RIYADH, 104),
        ("0 3 * 3 *", RIYADH, 31),
        ("0 5 * * *", PARIS, 365),
        ("0 5 * * *", CAIRO, 365),
        ("0 2 * * *", BERLIN, 365),
        ("0 5 * * *", RIYADH, 365),
        ("0 0 31 * *", RIYADH, 7),
        ("0 0 1 1,7 *", RIYADH, 2),
    ],
)
def test_find_slots_finds_every_slot_of_a_year(cron: str, zone: ZoneInfo, expected: int) -> None:
    found = find_slots(cron, zone, after=local(zone, "2026-12-31T23:59"), until=local(zone, "2027-12-31T23:59"))
    assert len(found) == len(set(found)) == expected


def test_find_slots_knows_leap_days_and_month_ends() -> None:
    assert slots_between("0 2 29 2 *", RIYADH, "2027-12-31T00:00", "2028-12-31T00:00") == ["2028-02-29 02:00"]
    assert slots_between("0 2 29 2 *", RIYADH, "2026-12-31T00:00", "2027-12-31T00:00") == []
    ends = slots_between("59 23 * * *", RIYADH, "2028-02-28T12:00", "2028-03-01T12:00")
    assert ends == ["2028-02-28 23:59", "2028-02-29 23:59"]
    firsts = slots_between("0 2 1 * *", RIYADH, "2027-01-31T12:00", "2027-04-30T12:00")
    assert firsts == ["2027-02-01 02:00", "2027-03-01 02:00", "2027-04-01 02:00"]


def test_daily_slot_that_spring_leaves_out_is_due_when_the_clocks_have_changed() -> None:
    found = find_slots(
        "30 2 * * *", BERLIN, after=local(BERLIN, "2027-03-27T12:00"), until=local(BERLIN, "2027-03-29T12:00")
    )
    assert found == [datetime(2027, 3, 28, 1, 0, tzinfo=UTC), datetime(2027, 3, 29, 0, 30, tzinfo=UTC)]


def test_daily_slot_that_comes_twice_in_autumn_is_due_once() -> None:
    found = find_slots(
        "30 2 * * *", BERLIN, after=local(BERLIN, "2027-10-30T12:00"), until=local(BERLIN, "2027-11-01T12:00")
    )
    assert found == [datetime(2027, 10, 31, 0, 30, tzinfo=UTC), datetime(2027, 11, 1, 1, 30, tzinfo=UTC)]


@pytest.mark.parametrize(("day", "hours"), [(date(2027, 3, 28), 23), (date(2027, 10, 31), 25), (date(2027, 6, 1), 24)])
def test_short_intervals_follow_real_time_on_days_that_change_the_clocks(day: date, hours: int) -> None:
    after = local(BERLIN, f"{day}T00:00") - MINUTE
    until = local(BERLIN, f"{day + timedelta(days=1)}T00:00") - MINUTE
    for minutes in (5, 15):
        found = find_slots(f"*/{minutes} * * * *", BERLIN, after=after, until=until)
        assert {second - first for first, second in itertools.pairwise(found)} == {minutes * MINUTE}
        assert len(found) == hours * 60 // minutes
    assert len(find_slots("0 * * * *", BERLIN, after=after, until=until)) == hours


SPECS = (
    "0 2 * * *",
    "59 23 * * *",
    "*/5 * * * *",
    "0 * * * *",
    "0 2 * * 1",
    "0 2 1 * *",
    "30 2 * * 0-4",
    "15,45 1-3 * * *",
)
MOMENTS = st.integers(0, 1_500_000).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE)
AROUND_CHANGES = st.sampled_from([datetime(2027, 3, 28, 0, tzinfo=UTC), datetime(2027, 10, 31, 0, tzinfo=UTC)])


@settings(max_examples=150)
@given(
    cron=st.sampled_from(SPECS),
    zone=st.sampled_from([RIYADH, BERLIN]),
    start=MOMENTS | AROUND_CHANGES,
    first=st.integers(0, 400),
    second=st.integers(0, 4000),
)
def test_find_slots_gives_each_slot_once_wherever_the_time_is_cut(
    cron: str, zone: ZoneInfo, start: datetime, first: int, second: int
) -> None:
    middle, end = start + first * MINUTE, start + (first + second) * MINUTE
    whole = find_slots(cron, zone, after=start, until=end)
    parts = [*find_slots(cron, zone, after=start, until=middle), *find_slots(cron, zone, after=middle, until=end)]
    assert parts == whole
    assert all(start < slot <= end for slot in whole)


@settings(max_examples=60, deadline=None)
@given(cron=st.sampled_from(SPECS), start=MOMENTS, minutes=st.integers(1, 5000))
def test_find_slots_agrees_with_a_look_at_every_minute(cron: str, start: datetime, minutes: int) -> None:
    until = start + minutes * MINUTE
    moment = start.replace(second=0, microsecond=0)
    wanted = []
    while moment <= until:
        if moment > start and matches(cron, moment.astimezone(RIYADH)):
            wanted.append(moment)
        moment += MINUTE
    assert find_slots(cron, RIYADH, after=start, until=until) == wanted


def matches(cron: str, moment: datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    return (
        field_has(minute, moment.minute)
        and field_has(hour, moment.hour)
        and field_has(day, moment.day)
        and field_has(month, moment.month)
        and field_has(weekday, moment.isoweekday() % 7)
    )


def field_has(field: str, value: int) -> bool:
    for part in field.split(","):
        spread, _, step = part.partition("/")
        low, _, high = ("0", "", "99") if spread == "*" else spread.partition("-")
        if int(low) <= value <= int(high or low) and (not step or value % int(step) == 0):
            return True
    return False


def test_find_slots_looks_back_no_further_than_a_year() -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert len(find_slots("0 0 * * *", RIYADH, after=datetime(2000, 1, 1, tzinfo=UTC), until=now)) == 366


def test_find_next_slot_is_after_the_moment() -> None:
    noon = local(RIYADH, "2026-11-24T02:00")
    assert find_next_slot("0 2 * * *", RIYADH, after=noon) == noon + timedelta(days=1)


@pytest.mark.parametrize(
    ("frequency", "cron"),
    [("DAILY", "0 4 * * *"), ("WEEKLY", "0 4 * * 0"), ("MONTHLY", "0 4 1 * *"), ("DISABLED", None)],
)
def test_backup_cron_follows_the_application(frequency: str, cron: str | None) -> None:
    wishes = BackupSettings(auto_backup_enabled=True, backup_frequency=frequency, backup_hour=4)  # type: ignore[arg-type]
    assert backup_cron(wishes) == cron
    assert backup_cron(BackupSettings(backup_frequency="DAILY")) is None


def test_timetable_has_the_units_lock_time_and_bells_that_periodiq_reads() -> None:
    chosen = load_settings({"SCHEDULE_AUTO_LOCK_HOUR": "1", "SCHEDULE_AUTO_LOCK_MINUTE": "7"}).settings
    timetable = {schedule.name: schedule for schedule in build_timetable(chosen, BackupSettings())}
    assert timetable["lock_schedules"].cron == "7 1 * * *"
    assert timetable["clean_notifications"].cron == "0 2 * * 1"
    for schedule in timetable.values():
        assert str(periodiq_cron(schedule.bell)) == schedule.bell


NOW = datetime(2026, 11, 24, 12, 0, 20, tzinfo=UTC)


def ago(**delta: float) -> datetime:
    return NOW - timedelta(**delta)


@pytest.mark.parametrize(
    ("catch_up", "lateness_s", "chosen"),
    [
        ("none", None, [3]),
        ("latest", None, [3]),
        ("all", None, [0, 1, 2, 3]),
        ("all", 7200, [2, 3]),
        ("latest", 7200, [3]),
        ("latest", 10, []),
        ("none", 10, []),
    ],
)
def test_plan_slots_follows_the_policy(catch_up: CatchUp, lateness_s: float | None, chosen: list[int]) -> None:
    slots = [ago(days=14), ago(days=3), ago(hours=2), ago(seconds=20)]
    plan = plan_slots(Schedule("x", "x", "* * * * *", "* * * * *", catch_up, lateness_s), slots, now=NOW)
    assert list(plan.dispatch) == [slots[position] for position in chosen]
    assert sorted((*plan.dispatch, *plan.missed)) == slots


@pytest.mark.parametrize(("catch_up", "is_run"), [("none", False), ("latest", True), ("all", True)])
def test_plan_slots_drops_a_late_slot_only_without_catch_up(catch_up: CatchUp, is_run: bool) -> None:
    plan = plan_slots(Schedule("x", "x", "* * * * *", "* * * * *", catch_up), [ago(minutes=10)], now=NOW)
    assert bool(plan.dispatch) is is_run
