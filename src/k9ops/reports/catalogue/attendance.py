"""Attendance: one line a day and person, and a month as a grid of persons and days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import Text as TextType
from sqlalchemy import Time, and_, cast, exists, func, literal, null, select, union_all

from k9ops.reports.catalogue.common import (
    DATE,
    EMPLOYEE,
    MONTH,
    PERIOD,
    PROJECT,
    PROJECT_NAME,
    employee_name,
    status_column,
    status_parameter,
)
from k9ops.reports.definition import Column, Report, Row, Section
from k9ops.reports.parameters import Month
from k9ops.reports.reading import Reading
from k9ops.reports.words import ABSENCE_REASON, ATTENDANCE_MARKS, ATTENDANCE_STATUS, ENTITY, Words

_TABLES = {
    "A": ("attendance_day", "project_attendance", "project_shift", "dog"),
    "B": ("daily_schedule", "daily_schedule_item", "shift", "user"),
}
_COUNTED = ("PRESENT", "LATE", "ABSENT", "SICK", "LEAVE", "REMOTE", "OVERTIME", "REPLACED")
_RANKS = ("PLANNED", "PRESENT", "OVERTIME", "REMOTE", "LATE", "LEAVE", "SICK", "REPLACED", "ABSENT")


def select_attendance(reading: Reading) -> Any:
    """Return every attendance as a subquery: date, person, number, entity, project, shift, status, reason, in and out.

    Generation A keeps it by shift (`project_attendance`, dogs too) and by day (`attendance_day`); a day that has an
    entry by shift is not counted again. Generation B keeps it in the items of the daily schedule.
    """
    source = _select_schedule_items(reading) if reading.generation == "B" else _select_attendance_tables(reading)
    return source.subquery("attendance")


def _select_attendance_tables(reading: Reading) -> Any:
    by_shift, by_day = reading.table("project_attendance"), reading.table("attendance_day")
    shift, project, employee, dog = (reading.table(name) for name in ("project_shift", "project", "employee", "dog"))
    name = employee_name(reading, employee)
    shifts = select(
        by_shift.c.date,
        by_shift.c.entity_id.label("member_id"),
        func.coalesce(name, dog.c.name, "?").label("person"),
        func.coalesce(employee.c.employee_id, dog.c.code).label("number"),
        cast(by_shift.c.entity_type, TextType).label("entity"),
        by_shift.c.project_id,
        project.c.name.label("project"),
        shift.c.name.label("shift"),
        shift.c.start_time.label("shift_start"),
        cast(by_shift.c.status, TextType).label("status"),
        cast(by_shift.c.absence_reason, TextType).label("reason"),
        func.coalesce(by_shift.c.late_reason, by_shift.c.notes).label("notes"),
        by_shift.c.check_in_time.label("check_in"),
        by_shift.c.check_out_time.label("check_out"),
    ).select_from(
        by_shift.join(shift, shift.c.id == by_shift.c.shift_id)
        .join(project, project.c.id == by_shift.c.project_id)
        .outerjoin(employee, and_(by_shift.c.entity_type == "EMPLOYEE", employee.c.id == by_shift.c.entity_id))
        .outerjoin(dog, and_(by_shift.c.entity_type == "DOG", dog.c.id == by_shift.c.entity_id))
    )
    person, place, other = (
        reading.table("employee", "e"),
        reading.table("project", "dp"),
        reading.table("project_attendance", "o"),
    )
    days = (
        select(
            by_day.c.date,
            by_day.c.employee_id.label("member_id"),
            employee_name(reading, person).label("person"),
            person.c.employee_id.label("number"),
            literal("EMPLOYEE", TextType).label("entity"),
            by_day.c.project_id,
            place.c.name.label("project"),
            cast(null(), TextType).label("shift"),
            cast(null(), Time).label("shift_start"),
            cast(by_day.c.status, TextType).label("status"),
            cast(null(), TextType).label("reason"),
            by_day.c.note.label("notes"),
            cast(null(), Time).label("check_in"),
            cast(null(), Time).label("check_out"),
        )
        .select_from(
            by_day.join(person, person.c.id == by_day.c.employee_id).outerjoin(place, place.c.id == by_day.c.project_id)
        )
        .where(~exists().where(other.c.entity_id == by_day.c.employee_id, other.c.date == by_day.c.date))
    )
    return union_all(shifts, days)


def _select_schedule_items(reading: Reading) -> Any:
    item, schedule, shift = (reading.table(name) for name in ("daily_schedule_item", "daily_schedule", "shift"))
    project, user, employee = reading.table("project"), reading.table("user"), reading.table("employee")
    return select(
        schedule.c.date,
        item.c.handler_user_id.label("member_id"),
        user.c.full_name.label("person"),
        employee.c.employee_id.label("number"),
        literal("EMPLOYEE", TextType).label("entity"),
        schedule.c.project_id,
        project.c.name.label("project"),
        shift.c.name.label("shift"),
        shift.c.start_time.label("shift_start"),
        cast(item.c.status, TextType).label("status"),
        cast(null(), TextType).label("reason"),
        item.c.absence_reason.label("notes"),
        cast(null(), Time).label("check_in"),
        cast(null(), Time).label("check_out"),
    ).select_from(
        item.join(schedule, schedule.c.id == item.c.daily_schedule_id)
        .join(user, user.c.id == item.c.handler_user_id)
        .outerjoin(employee, employee.c.id == user.c.employee_id)
        .outerjoin(project, project.c.id == schedule.c.project_id)
        .outerjoin(shift, shift.c.id == item.c.shift_id)
    )


def _limit_employee(reading: Reading, attendance: Any) -> Any:
    """Return the condition of the parameter `employee`; generation B keeps users where A keeps employees."""
    wanted = reading.values["employee"]
    if wanted is None:
        return literal(True)
    if reading.generation == "A":
        return attendance.c.member_id == wanted
    user = reading.table("user", "u")
    return attendance.c.member_id.in_(select(user.c.id).where(user.c.employee_id == wanted))


def _read_daily(reading: Reading) -> Iterable[Row]:
    attendance = select_attendance(reading)
    return reading.stream(
        select(attendance)
        .where(reading.within(attendance.c.date))
        .where(reading.matches("project", attendance.c.project_id))
        .where(reading.matches("status", attendance.c.status))
        .where(_limit_employee(reading, attendance))
        .order_by(
            attendance.c.date, attendance.c.project, attendance.c.shift_start, attendance.c.person, attendance.c.number
        )
    )


ATTENDANCE = Report(
    key="attendance",
    title=Words("تقرير الحضور والانصراف", "Attendance"),
    about=Words("الحضور اليومي لكل شخص في الفترة.", "Each person's attendance, day by day."),
    tables=("employee", "project"),
    tables_of=_TABLES,
    parameters=(*PERIOD, PROJECT, EMPLOYEE, status_parameter(ATTENDANCE_STATUS)),
    sections=(
        Section(
            "attendance",
            Words("الحضور", "Attendance"),
            (
                DATE,
                Column("person", Words("الاسم", "Name"), 2.2),
                Column("number", Words("الرقم", "Number"), 1.0, "code"),
                Column("entity", Words("النوع", "Type"), 0.7, "word", ENTITY),
                PROJECT_NAME,
                Column("shift", Words("الوردية", "Shift"), 1.0),
                Column("check_in", Words("الدخول", "In"), 0.7, "time"),
                Column("check_out", Words("الخروج", "Out"), 0.7, "time"),
                status_column(ATTENDANCE_STATUS, 1.2),
                Column("reason", Words("سبب الغياب", "Reason"), 1.2, "word", ABSENCE_REASON),
                Column("notes", Words("ملاحظات", "Notes"), 1.8),
            ),
            _read_daily,
        ),
    ),
)


def _grid_columns(values: Mapping[str, Any]) -> tuple[Column, ...]:
    month: Month = values["month"]
    days = [
        Column(f"day_{day:02d}", Words(str(day), str(day)), 0.42, "word", ATTENDANCE_MARKS)
        for day in range(1, month.last.day + 1)
    ]
    totals = [Column(f"total_{label}", ATTENDANCE_MARKS[label], 0.42, "integer", total="sum") for label in _COUNTED]
    return (
        Column("number", Words("الرقم", "Number"), 1.5, "code"),
        Column("person", Words("الاسم", "Name"), 3.0),
        *days,
        *totals,
    )


def _rank(status: str) -> int:
    """Of several shifts on a day the grid shows the one that somebody should look at; the totals count them all."""
    return _RANKS.index(status) if status in _RANKS else -1


def _read_grid(reading: Reading) -> Iterator[Row]:
    attendance = select_attendance(reading)
    rows = reading.stream(
        select(attendance.c.member_id, attendance.c.person, attendance.c.number, attendance.c.date, attendance.c.status)
        .where(reading.within_month(attendance.c.date), attendance.c.entity == "EMPLOYEE")
        .where(reading.matches("project", attendance.c.project_id))
        .where(_limit_employee(reading, attendance))
        .order_by(attendance.c.person, attendance.c.member_id, attendance.c.date, attendance.c.shift_start)
    )
    for _, entries in groupby(rows, key=lambda row: row["member_id"]):
        line: dict[str, Any] = {f"total_{label}": 0 for label in _COUNTED}
        for entry in entries:
            line["person"], line["number"] = entry["person"], entry["number"]
            day = f"day_{entry['date'].day:02d}"
            line[day] = max(line.get(day, ""), entry["status"], key=_rank)
            if f"total_{entry['status']}" in line:
                line[f"total_{entry['status']}"] += 1
        yield line


ATTENDANCE_MONTHLY = Report(
    key="attendance_monthly",
    title=Words("كشف الحضور الشهري", "Monthly attendance"),
    about=Words("شهر كامل: الأشخاص في الصفوف والأيام في الأعمدة.", "A month: persons in rows, days in columns."),
    tables=("employee", "project"),
    tables_of=_TABLES,
    parameters=(MONTH, PROJECT, EMPLOYEE),
    sections=(
        Section(
            "grid",
            Words("الحضور الشهري", "Monthly attendance"),
            _grid_columns,
            _read_grid,
            notes=Words(
                "، ".join(f"{ATTENDANCE_MARKS[label].ar} = {words.ar}" for label, words in ATTENDANCE_STATUS.items()),
                ", ".join(f"{ATTENDANCE_MARKS[label].en} = {words.en}" for label, words in ATTENDANCE_STATUS.items()),
            ),
        ),
    ),
)
