"""A report as a spreadsheet: typed cells, right to left, streamed row by row; no cell runs as a formula."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, BinaryIO

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from k9ops.reports.cells import Look, show
from k9ops.reports.csv_file import neutralise
from k9ops.reports.data import ReportData, SectionData
from k9ops.reports.definition import Column
from k9ops.reports.words import Words

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "nan_inf_to_errors": True,
}
_NUMBER_FORMATS = {
    "integer": "#,##0",
    "decimal": "#,##0.0",
    "date": "yyyy-mm-dd",
    "time": "hh:mm",
    "moment": "yyyy-mm-dd hh:mm",
}
_CHARACTERS_PER_WIDTH = 11
_LONGEST_TEXT = 32_000
_FIRST_YEAR = 1901  # Spreadsheets count days from 1900, with a mistake in that year.
_TOTALS = Words("الإجماليات", "Totals")


def write_xlsx(
    data: ReportData, look: Look, file: BinaryIO, *, created_at: datetime, unit: str, check_stop: Callable[[], None]
) -> None:
    """Write a workbook: a sheet for each section, and one with the totals.

    Args:
        data: Rows.
        look: Language; the digits are the spreadsheet program's own.
        file: Open for writing and seeking.
        created_at: Stands in the file's properties.
        unit: Name of the unit, for the printed header.
        check_stop: Called now and then; raises when the work must stop.
    """
    title = look.say(data.report.title)
    with xlsxwriter.Workbook(file, _OPTIONS) as book:
        book.set_properties({"title": title, "author": unit, "created": created_at.replace(tzinfo=None)})
        styles = _Styles(book, look)
        taken: set[str] = set()
        for section in data.sections:
            name = title if len(data.sections) == 1 else look.say(section.section.title)
            sheet = _add_sheet(book, _sheet_name(name, taken), look, title=title, is_landscape=data.report.is_landscape)
            _write_section(sheet, section, look, styles, check_stop)
        sheet = _add_sheet(book, _sheet_name(look.say(_TOTALS), taken), look, title=title, is_landscape=False)
        _write_totals(sheet, data, look, styles)


class _Styles:
    def __init__(self, book: Any, look: Look) -> None:
        base = {"valign": "top", "reading_order": 2 if look.is_rtl else 1, "font_name": "Arial", "font_size": 10}
        self.header = book.add_format(
            {**base, "bold": True, "bg_color": "#12395B", "font_color": "#FFFFFF", "text_wrap": True}
        )
        self.text = book.add_format({**base, "text_wrap": True})
        self.guarded = book.add_format({**base, "text_wrap": True, "quote_prefix": True})
        self.code = book.add_format({**base, "reading_order": 1, "num_format": "@"})
        self.typed = {kind: book.add_format({**base, "num_format": shown}) for kind, shown in _NUMBER_FORMATS.items()}


def _add_sheet(book: Any, name: str, look: Look, *, title: str, is_landscape: bool) -> Worksheet:
    sheet: Worksheet = book.add_worksheet(name)
    if look.is_rtl:
        sheet.right_to_left()
    sheet.set_paper(9)  # A4
    if is_landscape:
        sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.freeze_panes(1, 0)
    sheet.set_header("&C" + title.replace("&", "&&"))
    sheet.set_footer("&C&P / &N")
    return sheet


def _write_section(
    sheet: Worksheet, section: SectionData, look: Look, styles: _Styles, check_stop: Callable[[], None]
) -> None:
    for index, column in enumerate(section.columns):
        sheet.set_column(index, index, max(6, column.width * _CHARACTERS_PER_WIDTH))
        sheet.write_string(0, index, look.say(column.header), styles.header)
    sheet.autofilter(0, 0, section.row_count, len(section.columns) - 1)
    for number, row in enumerate(section.rows(), start=1):
        if number % 500 == 0:
            check_stop()
        for index, (column, value) in enumerate(zip(section.columns, row, strict=True)):
            _write_cell(sheet, number, index, column, value, look, styles)


def _write_cell(
    sheet: Worksheet, row: int, index: int, column: Column, value: Any, look: Look, styles: _Styles
) -> None:
    if value is None or value == "":
        return
    if column.kind in ("integer", "decimal") and isinstance(value, int | float):
        sheet.write_number(row, index, value, styles.typed[column.kind])
    elif column.kind == "moment" and isinstance(value, datetime) and value.year >= _FIRST_YEAR:
        sheet.write_datetime(row, index, value.astimezone(look.zone).replace(tzinfo=None), styles.typed["moment"])
    elif column.kind == "date" and isinstance(value, date) and value.year >= _FIRST_YEAR:
        sheet.write_datetime(row, index, datetime.combine(value, time()), styles.typed["date"])
    elif column.kind == "time" and isinstance(value, time):
        sheet.write_datetime(row, index, value, styles.typed["time"])
    else:
        text = show(column, value, look)[:_LONGEST_TEXT]
        plain = styles.code if column.kind == "code" else styles.text
        sheet.write_string(row, index, text, plain if neutralise(text) == text else styles.guarded)


def _write_totals(sheet: Worksheet, data: ReportData, look: Look, styles: _Styles) -> None:
    sheet.set_column(0, 1, 34)
    lines = [(look.say(data.report.title), ""), *data.describe_parameters(look)]
    for section in data.sections:
        if len(data.sections) > 1:
            lines.append((look.say(section.section.title), ""))
        lines += section.show_totals(look)
    for row, (name, value) in enumerate(lines):
        sheet.write_string(row, 0, name, styles.header if not value else styles.text)
        sheet.write_string(row, 1, value, styles.text)


def _sheet_name(name: str, taken: set[str]) -> str:
    """Return a name that spreadsheets accept: 31 characters, none of a few signs, not used twice."""
    base = re.sub(r"[\[\]:*?/\\']", " ", name).strip()[:28] or "Sheet"
    found, number = base, 2
    while found.lower() in taken:
        found, number = f"{base} {number}", number + 1
    taken.add(found.lower())
    return found
