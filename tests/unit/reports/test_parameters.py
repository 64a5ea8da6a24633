from __future__ import annotations

import re
import uuid
from datetime import date

import pytest

from k9ops.errors import ParamsInvalid
from k9ops.reports.catalogue import REPORTS, find_report
from k9ops.reports.parameters import Month, Reference, check_parameters

TODAY = date(2026, 3, 1)
ATTENDANCE = find_report("attendance")


def check(report: str = "attendance", **given: object) -> dict[str, object]:
    return check_parameters(find_report(report), given, today=TODAY)


def test_check_parameters_gives_last_month_and_arabic_by_default() -> None:
    values = check()
    assert (values["from"], values["to"]) == (date(2026, 2, 1), date(2026, 2, 28))
    assert values["language"] == "ar"
    assert values["project"] is None


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        ("today", TODAY),
        ("yesterday", date(2026, 2, 28)),
        ("today-7", date(2026, 2, 22)),
        ("month_start", date(2026, 3, 1)),
        ("last_month_end+1", date(2026, 3, 1)),
        ("year_start", date(2026, 1, 1)),
    ],
)
def test_check_parameters_reads_dates(text: str, day: date) -> None:
    assert check(**{"from": text, "to": "2027-01-01"})["from"] == day


@pytest.mark.parametrize(
    "text", ["2025-02-29", "31/10/2026", "2026-1-1", "tomorrow", "٢٠٢٦-١٠-٠١", "0001-01-01", "today-99999"]
)
def test_check_parameters_names_a_date_that_is_none(text: str) -> None:
    with pytest.raises(ParamsInvalid, match=re.escape(f"from = {text!r}: it must be a date")):
        check(**{"from": text})


def test_check_parameters_refuses_a_period_that_ends_before_it_begins() -> None:
    with pytest.raises(ParamsInvalid, match="from = 2026-02-02: it must not be later than to = 2026-02-01"):
        check(**{"from": "2026-02-02", "to": "2026-02-01"})


def test_check_parameters_reads_months() -> None:
    assert check("operations", month="2024-02")["month"] == Month(date(2024, 2, 1), date(2024, 2, 29))
    assert check("operations")["month"] == Month(date(2026, 2, 1), date(2026, 2, 28))
    with pytest.raises(ParamsInvalid, match="month = '2026-13': it must be a month"):
        check("operations", month="2026-13")


def test_check_parameters_names_what_is_unknown_missing_or_of_another_type() -> None:
    with pytest.raises(ParamsInvalid, match="attendance has no parameter 'dog'; its parameters are: from, to, project"):
        check(dog="K9-001")
    with pytest.raises(ParamsInvalid, match="the parameter report is missing; it must be the id of a handler report"):
        check("handler_report")
    with pytest.raises(ParamsInvalid, match="status = 'HERE': it must be one of PRESENT, LATE"):
        check(status="HERE")
    with pytest.raises(ParamsInvalid, match="project = 7: it must be a text"):
        check(project=7)
    with pytest.raises(ParamsInvalid, match="it must be the code or the id of a project"):
        check(project="a\x00b")


def test_reference_knows_an_id_from_a_code() -> None:
    some_id = uuid.uuid4()
    assert Reference(str(some_id)).id == some_id
    assert Reference("K9-001").id is None


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_every_default_is_valid_and_every_parameter_has_words(report: object) -> None:
    given = {item.name: "x" for item in report.all_parameters if item.is_required}  # type: ignore[attr-defined]
    check_parameters(report, given, today=TODAY)  # type: ignore[arg-type]
    for item in report.all_parameters:  # type: ignore[attr-defined]
        assert item.title.ar and item.title.en  # noqa: PT018
        assert (item.kind == "choice") == bool(item.choices)
