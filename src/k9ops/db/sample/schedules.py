"""Sample shifts, daily schedules with their items, and (generation A) attendance."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from k9ops.db.sample import names
from k9ops.db.sample.unit import Row, SampleUnit

_SCHEDULE_DAYS, _FUTURE_DAYS = 180, 7
_FORGOTTEN_DAYS, _FORGOTTEN_SHARE = 5, 0.03
_ITEMS_PER_SCHEDULE = 9
_ATTENDANCE_DAYS = 45


def add_schedules(unit: SampleUnit) -> None:
    """Add months of schedules: past ones locked, but for the last days and some that were forgotten."""
    shifts = [
        unit.add("shift", name=name, start_time=time(start), end_time=time(end), is_active=True)
        for name, start, end in names.SHIFTS
    ]
    dogs = {dog["id"]: dog for dog in unit.working_dogs}
    for day in unit.days(_SCHEDULE_DAYS + _FUTURE_DAYS, ending_in_days=_FUTURE_DAYS):
        for project in unit.projects("ACTIVE", "COMPLETED"):
            if project["end_date"] is None or day <= project["end_date"]:
                schedule = _add_schedule(unit, day, project)
                team = [user for user in unit.users("HANDLER") if user["project_id"] == project["id"]]
                for user in unit.random.sample(team, _ITEMS_PER_SCHEDULE):
                    _add_item(unit, schedule, user, team, dogs, shifts)
        if unit.generation == "A" and day.weekday() == 0:
            _add_schedule(unit, day, None)


def _add_schedule(unit: SampleUnit, day: date, project: Row | None) -> Row:
    is_forgotten = unit.chance(_FORGOTTEN_SHARE) or day > unit.today - timedelta(days=_FORGOTTEN_DAYS)
    created_at = unit.moment(min(day, unit.today) - timedelta(days=2))
    locked_at = None if is_forgotten else datetime.combine(day, time(20, 59))
    return unit.add(
        "daily_schedule",
        date=day,
        project_id=project["id"] if project else None,
        status="OPEN" if is_forgotten else "LOCKED",
        notes=unit.pick(names.SCHEDULE_NOTES) if unit.chance(0.3) else None,
        **unit.if_b(lambda: {"locked_at": locked_at}),
        created_at=created_at,
        updated_at=locked_at or created_at,
        created_by_user_id=project["manager_id"] if project else None,
    )


def _add_item(
    unit: SampleUnit, schedule: Row, user: Row, team: list[Row], dogs: dict[Any, Row], shifts: list[Row]
) -> None:
    status = "PLANNED"
    if schedule["date"] < unit.today:
        status = unit.random.choices(("PRESENT", "ABSENT", "REPLACED", "PLANNED"), (88, 5, 4, 3))[0]
    is_replaced, is_away = status == "REPLACED", status in ("ABSENT", "REPLACED")
    others = [other for other in team if other is not user]
    unit.add(
        "daily_schedule_item",
        daily_schedule_id=schedule["id"],
        handler_user_id=user["id"],
        dog_id=user["dog_id"] if user["dog_id"] in dogs else None,
        shift_id=unit.pick(shifts)["id"],
        **unit.if_b(lambda: {"location_id": None}),
        status=status,
        replacement_handler_id=unit.pick(others)["id"] if is_replaced else None,
        absence_reason=unit.pick(names.ABSENCE_REASONS) if is_away else None,
        replacement_notes="تم الإبلاغ قبل بداية الوردية" if is_replaced else None,
        created_at=schedule["created_at"],
        updated_at=schedule["updated_at"],
    )


def add_attendance(unit: SampleUnit) -> None:
    """Add attendance by day for every employee, and by shift for the active projects."""
    for day in unit.days(_ATTENDANCE_DAYS):
        for employee in unit.rows["employee"]:
            unit.add(
                "attendance_day",
                employee_id=employee["id"],
                date=day,
                status=_attendance(unit),
                note=None,
                source=unit.pick(("GLOBAL", "PROJECT")),
                project_id=None,
                locked=day < unit.today,
            )
    for project in unit.projects("ACTIVE"):
        shifts = [
            unit.add(
                "project_shift",
                project_id=project["id"],
                name=name,
                start_time=time(start),
                end_time=time(end),
                is_active=True,
            )
            for name, start, end in names.SHIFTS
        ]
        _add_project_attendance(unit, project, shifts)


def _attendance(unit: SampleUnit) -> str:
    statuses = ("PRESENT", "ABSENT", "LATE", "SICK", "LEAVE", "REMOTE", "OVERTIME")
    return unit.random.choices(statuses, (84, 3, 4, 2, 5, 1, 1))[0]


def _add_project_attendance(unit: SampleUnit, project: Row, shifts: list[Row]) -> None:
    members = [row for row in unit.rows["project_assignment"] if row["project_id"] == project["id"]]
    for day in unit.days(_ATTENDANCE_DAYS):
        for member in unit.random.sample(members, 6):
            status, shift = _attendance(unit), unit.pick(shifts)
            is_there = status in ("PRESENT", "LATE", "OVERTIME")
            unit.add(
                "project_attendance",
                project_id=project["id"],
                shift_id=shift["id"],
                date=day,
                entity_type="DOG" if member["dog_id"] else "EMPLOYEE",
                entity_id=member["dog_id"] or member["employee_id"],
                status=status,
                absence_reason=None if is_there else unit.label("absencereason"),
                late_reason="ازدحام مروري" if status == "LATE" else None,
                notes=None,
                check_in_time=shift["start_time"] if is_there else None,
                check_out_time=shift["end_time"] if is_there else None,
            )
