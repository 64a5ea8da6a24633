"""XLSX and CSV as other programs read them."""

from __future__ import annotations

import csv
import io
from datetime import datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from tests.integration.reports.conftest import Unit

from k9ops.reports.catalogue import REPORTS

EVIL = ("=1+1", "+966500000000", "-2", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")', "http://x", "{=1}")


def open_book(content: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content))


def read_csv(content: bytes) -> list[list[str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("report", [key for key, item in REPORTS.items() if len(item.sections) == 1])
def test_xlsx_and_csv_have_the_same_rows(report: str, each_unit: Unit) -> None:
    artefact, content = each_unit.make(report, format="xlsx")
    book = open_book(content)
    sheet = book.worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    lines = read_csv(each_unit.make(report, format="csv")[1])
    assert len(rows) == len(lines) == artefact.row_count + 1
    for row, line in zip(rows, lines, strict=True):
        shown = ["" if value is None else as_text(value) for value in row]
        shown += [""] * (len(line) - len(shown))
        # A spreadsheet knows no difference between 4 and 4.0.
        assert shown == [cell.removeprefix("'").removesuffix(".0") for cell in line]


def as_text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if value.time() == time() else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, time):
        return f"{value:%H:%M}"
    return str(value)


def test_xlsx_is_right_to_left_typed_frozen_filtered_and_repeats_its_header(unit: Unit) -> None:
    book = open_book(unit.make("training", format="xlsx")[1])
    sheet = book.worksheets[0]
    assert sheet.title == "تقرير التدريب"
    assert sheet.sheet_view.rightToLeft
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref.startswith("A1:K")
    assert sheet.print_title_rows == "$1:$1"
    assert sheet.page_setup.orientation == "landscape"
    headers = [cell.value for cell in sheet[1]]
    assert headers[:2] == ["التاريخ والوقت", "الكلب"]
    first = [cell.value for cell in sheet[2]]
    assert isinstance(first[0], datetime)
    assert isinstance(first[headers.index("المدة (د)")], int)
    assert sheet.column_dimensions["G"].width > sheet.column_dimensions["H"].width
    english = open_book(unit.make("training", format="xlsx", params={"language": "en"})[1]).worksheets[0]
    assert not english.sheet_view.rightToLeft
    assert english["B1"].value == "Dog"


def test_a_report_of_several_sections_has_a_sheet_each_and_one_of_totals(unit: Unit) -> None:
    book = open_book(unit.make("veterinary", format="xlsx")[1])
    assert book.sheetnames == ["الزيارات", "الزيارات المستحقة", "الإجماليات"]
    lines = read_csv(unit.make("veterinary", format="csv")[1])
    assert lines[0] == ["الزيارات"]
    assert ["الزيارات المستحقة"] in lines
    totals = {row[0]: row[1] for row in book["الإجماليات"].iter_rows(values_only=True)}
    assert int(totals["النوع: روتينية"]) > 0


def test_no_cell_runs_as_a_formula(unit: Unit) -> None:
    names = unit.engine.begin()
    with names as connection:
        from sqlalchemy import text

        codes = [row[0] for row in connection.execute(text("SELECT code FROM public.dog ORDER BY code LIMIT 8"))]
        old = [row[0] for row in connection.execute(text("SELECT breed FROM public.dog ORDER BY code LIMIT 8"))]
    for code, evil in zip(codes, EVIL, strict=True):
        unit.execute("UPDATE public.dog SET breed = :evil WHERE code = :code", {"evil": evil, "code": code})
    try:
        sheet = open_book(unit.make("dogs", format="xlsx")[1]).worksheets[0]
        lines = read_csv(unit.make("dogs", format="csv")[1])
    finally:
        for code, breed in zip(codes, old, strict=True):
            unit.execute("UPDATE public.dog SET breed = :breed WHERE code = :code", {"breed": breed, "code": code})
    for place, evil in enumerate(EVIL):
        cell = sheet.cell(row=place + 2, column=3)
        assert (cell.data_type, cell.value, cell.hyperlink) == ("s", evil.strip(), None)
        assert cell.quotePrefix == (evil.strip()[0] in "=+-@")
        assert not lines[place + 1][2].startswith(("=", "+", "-", "@", "\t"))


def test_the_same_data_give_the_same_bytes(unit: Unit, tmp_path: Path) -> None:
    for kind in ("xlsx", "csv"):
        first = unit.make("dogs", format=kind)[1]
        again = unit.with_settings(reports_dir=tmp_path / "other").make("dogs", format=kind)[1]
        assert first == again


def test_an_empty_report_is_a_file_with_its_header(unit: Unit) -> None:
    params = {"from": "2001-01-01", "to": "2001-01-02"}
    sheet = open_book(unit.make("incidents", format="xlsx", params=params)[1]).worksheets[0]
    assert sheet.max_row == 1
    assert len(read_csv(unit.make("incidents", format="csv", params=params)[1])) == 1
