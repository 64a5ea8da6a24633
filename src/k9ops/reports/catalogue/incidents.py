"""Incidents of the projects."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select, true

from k9ops.reports.catalogue.common import DATE, PERIOD, PROJECT, PROJECT_NAME, TIME
from k9ops.reports.definition import Column, Parameter, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import PRIORITY, YES_NO, Words


def _read_incidents(reading: Reading) -> Iterable[Row]:
    incident, project = reading.table("incident"), reading.table("project")
    is_resolved, wanted = func.coalesce(incident.c.resolved, False), reading.values["resolved"]
    return reading.stream(
        select(
            incident.c.incident_date.label("date"),
            incident.c.incident_time.label("time"),
            incident.c.name,
            incident.c.incident_type.label("type"),
            project.c.name.label("project"),
            incident.c.location,
            incident.c.severity,
            incident.c.description,
            is_resolved.label("resolved"),
            incident.c.resolution_date.label("resolved_on"),
        )
        .select_from(incident.join(project, project.c.id == incident.c.project_id))
        .where(reading.within(incident.c.incident_date))
        .where(reading.matches("project", incident.c.project_id))
        .where(reading.matches("severity", incident.c.severity))
        .where(is_resolved == (wanted == "yes") if wanted else true())
        .order_by(incident.c.incident_date, incident.c.incident_time, incident.c.id)
    )


INCIDENTS = Report(
    key="incidents",
    title=Words("تقرير الحوادث", "Incidents"),
    about=Words("حوادث المشاريع وما حل منها.", "What happened in the projects, and what is resolved."),
    tables=("incident", "project"),
    parameters=(
        *PERIOD,
        PROJECT,
        Parameter("severity", Words("الخطورة", "Severity"), "choice", choices=PRIORITY),
        Parameter("resolved", Words("تم الحل", "Resolved"), "choice", choices=YES_NO),
    ),
    sections=(
        Section(
            "incidents",
            Words("الحوادث", "Incidents"),
            (
                DATE,
                TIME,
                Column("name", Words("الحادث", "Incident"), 1.8),
                Column("type", Words("النوع", "Type"), 1.2),
                PROJECT_NAME,
                Column("location", Words("الموقع", "Place"), 1.6),
                Column("severity", Words("الخطورة", "Severity"), 0.9, "word", PRIORITY, total="count_by"),
                Column("description", Words("الوصف", "Description"), 2.6),
                Column("resolved", Words("تم الحل", "Resolved"), 0.8, "yes_no", total="count_by"),
                Column("resolved_on", Words("تاريخ الحل", "Resolved on"), 1.1, "date"),
            ),
            _read_incidents,
        ),
    ),
)
