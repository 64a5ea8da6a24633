"""Handlers' reports: one with all its sections, and those of a period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Text, cast, func, null, or_, select

from k9ops.db.application_tables import HEALTH_PARTS
from k9ops.reports.catalogue.common import (
    DATE,
    DOG,
    DOG_NAME,
    PERIOD,
    PROJECT,
    PROJECT_NAME,
    status_column,
    status_parameter,
)
from k9ops.reports.definition import Column, Parameter, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import (
    HEALTH_PART,
    HEALTH_STATUS,
    INCIDENT_TYPE,
    REPORT_STATUS,
    REPORT_TYPE,
    STOOL_COLOR,
    STOOL_SHAPE,
    TRAINING_TYPE,
    Words,
)

_TABLES = ("handler_report", "user", "dog", "project")
_SECTION_TABLES = tuple(f"handler_report_{name}" for name in ("health", "training", "care", "behavior", "incident"))


def _select_reports(reading: Reading, *more: Any) -> Any:
    report, dog, project = reading.table("handler_report"), reading.table("dog"), reading.table("project")
    handler, reviewer = reading.table("user", "handler"), reading.table("user", "reviewer")
    kind = (
        cast(report.c.report_type, Text) if reading.schema.has("handler_report", "report_type") else cast(null(), Text)
    )
    return (
        select(
            report.c.date,
            kind.label("type"),
            handler.c.full_name.label("handler"),
            dog.c.name.label("dog"),
            dog.c.code.label("dog_code"),
            project.c.name.label("project"),
            report.c.location,
            report.c.status,
            report.c.submitted_at.label("submitted"),
            reviewer.c.full_name.label("reviewer"),
            report.c.reviewed_at.label("reviewed"),
            report.c.review_notes,
            *more,
        )
        .select_from(
            report.join(handler, handler.c.id == report.c.handler_user_id)
            .join(dog, dog.c.id == report.c.dog_id)
            .outerjoin(project, project.c.id == report.c.project_id)
            .outerjoin(reviewer, reviewer.c.id == report.c.reviewed_by_user_id)
        )
        .order_by(report.c.date, project.c.name, handler.c.full_name, report.c.id)
    )


def _read_reports(reading: Reading) -> Iterable[Row]:
    report = reading.table("handler_report")
    health, incident = reading.table("handler_report_health"), reading.table("handler_report_incident")
    is_noted = or_(*(health.c[f"{part}_status"].in_(("ABNORMAL", "NEEDS_ATTENTION")) for part in HEALTH_PARTS))
    noted = select(func.count()).where(health.c.report_id == report.c.id, is_noted).correlate(report).scalar_subquery()
    incidents = select(func.count()).where(incident.c.report_id == report.c.id).correlate(report).scalar_subquery()
    return reading.stream(
        _select_reports(reading, (noted > 0).label("health_noted"), incidents.label("incidents"))
        .where(reading.within(report.c.date))
        .where(reading.matches("project", report.c.project_id))
        .where(reading.matches("dog", report.c.dog_id))
        .where(reading.matches("status", report.c.status))
    )


HANDLER_REPORTS = Report(
    key="handler_reports",
    title=Words("تقارير السائسين", "Handlers' reports"),
    about=Words("تقارير فترة، وحالتها ومن راجعها.", "The reports of a period, their state and who reviewed them."),
    tables=(*_TABLES, *_SECTION_TABLES),
    parameters=(*PERIOD, PROJECT, DOG, status_parameter(REPORT_STATUS)),
    sections=(
        Section(
            "reports",
            Words("التقارير", "Reports"),
            (
                DATE,
                Column("type", Words("النوع", "Type"), 0.8, "word", REPORT_TYPE),
                Column("handler", Words("السائس", "Handler"), 2.0),
                DOG_NAME,
                PROJECT_NAME,
                Column("location", Words("الموقع", "Place"), 1.4),
                status_column(REPORT_STATUS, 1.4),
                Column("health_noted", Words("ملاحظة صحية", "Health noted"), 0.8, "yes_no", total="count_by"),
                Column("incidents", Words("الحوادث", "Incidents"), 0.8, "integer", total="sum"),
                Column("submitted", Words("الإرسال", "Submitted"), 1.3, "moment"),
                Column("reviewer", Words("المراجع", "Reviewer"), 1.7),
                Column("review_notes", Words("ملاحظات المراجعة", "Review notes"), 1.6),
            ),
            _read_reports,
        ),
    ),
)


def _read_head(reading: Reading) -> Iterable[Row]:
    report = reading.table("handler_report")
    return reading.stream(_select_reports(reading).where(report.c.id == reading.values["report"]))


def _read_part(reading: Reading, name: str) -> Iterable[Row]:
    table = reading.table(f"handler_report_{name}")
    return reading.stream(select(table).where(table.c.report_id == reading.values["report"]).order_by(table.c.id))


def _read_health(reading: Reading) -> Iterator[Row]:
    for row in _read_part(reading, "health"):
        for part in HEALTH_PARTS:
            yield {"part": part, "status": row[f"{part}_status"], "notes": row[f"{part}_notes"]}


def _section(name: str, title: Words, *columns: Column) -> Section:
    return Section(name, title, columns, lambda reading: _read_part(reading, name), is_counted=False)


HANDLER_REPORT = Report(
    key="handler_report",
    title=Words("تقرير سائس", "A handler's report"),
    about=Words("تقرير واحد بكل أقسامه.", "One report with all its sections."),
    tables=(*_TABLES, *_SECTION_TABLES),
    parameters=(Parameter("report", Words("التقرير", "Report"), "handler_report", is_required=True, is_private=True),),
    is_landscape=False,
    sections=(
        Section(
            "head",
            Words("البيانات", "Details"),
            (
                DATE,
                Column("type", Words("النوع", "Type"), 0.7, "word", REPORT_TYPE),
                Column("handler", Words("السائس", "Handler"), 1.9),
                DOG_NAME,
                PROJECT_NAME,
                Column("location", Words("الموقع", "Place"), 1.4),
                Column("status", Words("الحالة", "Status"), 1.3, "word", REPORT_STATUS),
                Column("reviewer", Words("المراجع", "Reviewer"), 1.6),
            ),
            _read_head,
            is_counted=False,
        ),
        Section(
            "health",
            Words("الصحة", "Health"),
            (
                Column("part", Words("العضو", "Part"), 1.0, "word", HEALTH_PART),
                Column("status", Words("الحالة", "Status"), 1.0, "word", HEALTH_STATUS),
                Column("notes", Words("ملاحظات", "Notes"), 3.0),
            ),
            _read_health,
            is_counted=False,
        ),
        _section(
            "training",
            Words("التدريب", "Training"),
            Column("training_type", Words("النوع", "Type"), 1.1, "word", TRAINING_TYPE),
            Column("time_from", Words("من", "From"), 0.7, "time"),
            Column("time_to", Words("إلى", "To"), 0.7, "time"),
            Column("description", Words("الوصف", "Description"), 2.5),
            Column("notes", Words("ملاحظات", "Notes"), 2.5),
        ),
        _section(
            "care",
            Words("العناية", "Care"),
            Column("food_type", Words("الطعام", "Food"), 1.4),
            Column("food_amount", Words("الكمية", "Amount"), 0.9),
            Column("water_amount", Words("الماء", "Water"), 0.9),
            Column("supplements", Words("المكملات", "Supplements"), 1.3),
            Column("grooming_done", Words("تمشيط", "Groomed"), 0.7, "yes_no"),
            Column("washing_done", Words("غسل", "Washed"), 0.7, "yes_no"),
            Column("stool_color", Words("لون البراز", "Stool colour"), 0.9, "word", STOOL_COLOR),
            Column("stool_shape", Words("قوام البراز", "Stool shape"), 0.9, "word", STOOL_SHAPE),
            Column("excretion_location", Words("مكان الإخراج", "Place"), 1.3),
        ),
        _section(
            "behavior",
            Words("السلوك", "Behaviour"),
            Column("good_behavior_notes", Words("سلوك جيد", "Good"), 1.0),
            Column("bad_behavior_notes", Words("سلوك سيئ", "Bad"), 1.0),
        ),
        _section(
            "incident",
            Words("الحوادث", "Incidents"),
            Column("incident_type", Words("النوع", "Type"), 0.8, "word", INCIDENT_TYPE),
            Column("incident_datetime", Words("التاريخ والوقت", "When"), 1.3, "moment"),
            Column("location", Words("الموقع", "Place"), 1.3),
            Column("description", Words("الوصف", "Description"), 3.0),
        ),
    ),
)
