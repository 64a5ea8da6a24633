from __future__ import annotations

import re
from datetime import date

import pytest

from k9ops.db.application import ApplicationSchema, Generation
from k9ops.db.application_enums import enum_labels
from k9ops.db.application_tables import build_metadata
from k9ops.errors import ReportUnavailable, ReportUnknown
from k9ops.reports import words
from k9ops.reports.catalogue import REPORTS, find_report
from k9ops.reports.definition import Report
from k9ops.reports.parameters import check_parameters
from k9ops.reports.pdf.fonts import check_glyphs

ARABIC = re.compile("[\u0600-\u06ff]")


def schema_of(generation: Generation, *, without: str = "") -> ApplicationSchema:
    tables = build_metadata(generation).tables.values()
    return ApplicationSchema({table.name: frozenset(table.c.keys()) for table in tables if table.name != without})


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_definitions_are_whole(report: Report) -> None:
    given = {item.name: "x" for item in report.parameters if item.is_required}
    values = check_parameters(report, given, today=date(2026, 11, 24))
    assert ARABIC.search(report.title.ar)
    assert len({section.key for section in report.sections}) == len(report.sections)
    for section in report.sections:
        columns = section.columns_for(values)
        assert len({column.key for column in columns}) == len(columns)
        for column in columns:
            assert column.header.en
            assert column.width > 0
            assert (column.kind == "word") == bool(column.words), column.key
            check_glyphs(f"{column.header.ar}{column.header.en}", where=column.key)
            for shown in column.words.values():
                check_glyphs(f"{shown.ar}{shown.en}", where=column.key)
        if section.chart:
            assert {section.chart.label, section.chart.value} <= {column.key for column in columns}


@pytest.mark.parametrize("generation", ["A", "B"])
def test_every_report_is_there_in_both_generations_and_refuses_without_a_table(generation: Generation) -> None:
    for report in REPORTS.values():
        report.require(schema_of(generation))
        for table in (*report.tables, *report.tables_of.get(generation, ())):
            if table in ("user", "dog", "daily_schedule", "notification"):
                continue  # without these it is no database of the application at all
            with pytest.raises(ReportUnavailable, match=f"{report.key} cannot be made here.* lacks .*{table}"):
                report.require(schema_of(generation, without=table))


def test_find_report_lists_the_reports_when_there_is_none() -> None:
    with pytest.raises(ReportUnknown, match=r"no report 'cats'. The reports are: dogs, employees"):
        find_report("cats")


@pytest.mark.parametrize(
    ("name", "enum"),
    [
        ("SCHEDULE_STATUS", "schedulestatus"),
        ("ITEM_STATUS", "scheduleitemstatus"),
        ("ABSENCE_REASON", "absencereason"),
        ("EMPLOYEE_ROLE", "employeerole"),
        ("GENDER", "doggender"),
        ("DOG_STATUS", "dogstatus"),
        ("PROJECT_STATUS", "projectstatus"),
        ("TRAINING_CATEGORY", "trainingcategory"),
        ("TRAINING_TYPE", "trainingtype"),
        ("VISIT_TYPE", "visittype"),
        ("CYCLE_TYPE", "productioncycletype"),
        ("CYCLE_RESULT", "productionresult"),
        ("PREPARATION", "prepmethod"),
        ("BODY_CONDITION", "bodyconditionscale"),
        ("HEALTH_STATUS", "healthcheckstatus"),
        ("INCIDENT_TYPE", "incidenttype"),
        ("STOOL_COLOR", "stoolcolor"),
        ("STOOL_SHAPE", "stoolshape"),
        ("REPORT_STATUS", "reportstatus"),
        ("REPORT_TYPE", "reporttype"),
        ("ENTITY", "entitytype"),
    ],
)
def test_words_cover_every_label_of_both_generations(name: str, enum: str) -> None:
    labels = {*enum_labels("A").get(enum, ()), *enum_labels("B").get(enum, ())}
    assert labels == set(getattr(words, name))


def test_attendance_words_cover_both_sources() -> None:
    labels = {*enum_labels("A")["attendancestatus"], *enum_labels("B")["scheduleitemstatus"]}
    assert labels == set(words.ATTENDANCE_STATUS) == set(words.ATTENDANCE_MARKS)
