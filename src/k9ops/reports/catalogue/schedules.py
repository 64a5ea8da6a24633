"""The daily schedule by project and shift, with replacements."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from k9ops.reports.catalogue.common import DATE, DOG, DOG_NAME, PROJECT, PROJECT_NAME, status_column, status_parameter
from k9ops.reports.definition import Column, Parameter, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import ITEM_STATUS, SCHEDULE_STATUS, Words


def _read_items(reading: Reading) -> Iterable[Row]:
    item, schedule = reading.table("daily_schedule_item"), reading.table("daily_schedule")
    project, shift, dog = reading.table("project"), reading.table("shift"), reading.table("dog")
    handler, other = reading.table("user", "handler"), reading.table("user", "other")
    return reading.stream(
        select(
            schedule.c.date,
            project.c.name.label("project"),
            shift.c.name.label("shift"),
            shift.c.start_time.label("start"),
            shift.c.end_time.label("end"),
            handler.c.full_name.label("handler"),
            dog.c.name.label("dog"),
            item.c.status,
            other.c.full_name.label("replacement"),
            item.c.absence_reason.label("reason"),
            item.c.replacement_notes.label("notes"),
            schedule.c.status.label("locked"),
        )
        .select_from(
            item.join(schedule, schedule.c.id == item.c.daily_schedule_id)
            .join(handler, handler.c.id == item.c.handler_user_id)
            .outerjoin(project, project.c.id == schedule.c.project_id)
            .outerjoin(shift, shift.c.id == item.c.shift_id)
            .outerjoin(dog, dog.c.id == item.c.dog_id)
            .outerjoin(other, other.c.id == item.c.replacement_handler_id)
        )
        .where(reading.within(schedule.c.date))
        .where(reading.matches("project", schedule.c.project_id))
        .where(reading.matches("dog", item.c.dog_id))
        .where(reading.matches("status", item.c.status))
        .order_by(schedule.c.date, project.c.name, shift.c.start_time, handler.c.full_name, item.c.id)
    )


DAILY_SCHEDULE = Report(
    key="daily_schedule",
    title=Words("الجدول اليومي", "Daily schedule"),
    about=Words("من يعمل أين وفي أي وردية، ومن حل محل من.", "Who works where in which shift, and who replaced whom."),
    tables=("daily_schedule", "daily_schedule_item", "project", "shift", "user", "dog"),
    parameters=(
        Parameter("from", Words("من تاريخ", "From"), "date", default="today"),
        Parameter("to", Words("إلى تاريخ", "To"), "date", default="today"),
        PROJECT,
        DOG,
        status_parameter(ITEM_STATUS),
    ),
    sections=(
        Section(
            "items",
            Words("الجدول", "Schedule"),
            (
                DATE,
                PROJECT_NAME,
                Column("shift", Words("الوردية", "Shift"), 1.0),
                Column("start", Words("من", "From"), 0.7, "time"),
                Column("end", Words("إلى", "To"), 0.7, "time"),
                Column("handler", Words("السائس", "Handler"), 2.0),
                DOG_NAME,
                status_column(ITEM_STATUS, 1.2),
                Column("replacement", Words("البديل", "Replacement"), 2.0),
                Column("reason", Words("سبب الغياب", "Reason"), 1.5),
                Column("notes", Words("ملاحظات", "Notes"), 1.6),
                Column("locked", Words("حالة الجدول", "Schedule is"), 0.9, "word", SCHEDULE_STATUS),
            ),
            _read_items,
        ),
    ),
)
