"""A report as CSV: UTF-8 with a byte order mark, so that spreadsheets read Arabic; no cell runs as a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from k9ops.reports.cells import Look, show
from k9ops.reports.data import ReportData, SectionData
from k9ops.reports.definition import Column

_BOM = b"\xef\xbb\xbf"
_TYPED = frozenset({"integer", "decimal", "date", "time", "moment"})
# A formula begins with one of these, also behind space or characters without width, in their wide forms, and where a
# spreadsheet that separates cells by semicolons, or reads on in a new line, would begin a cell.
_FORMULA = re.compile('(^|[;\\n"])([\\s\u200b-\u200d\u2060\u00ad]*[=+\\-@\uff1d\uff0b\uff0d\uff20|%])')


def write_csv(data: ReportData, look: Look, file: BinaryIO, *, check_stop: Callable[[], None]) -> None:
    """Write a report; several sections stand below each other, each under its title.

    Args:
        data: Rows.
        look: Language; digits are always Western here.
        file: Open for writing.
        check_stop: Called now and then; raises when the work must stop.
    """
    plain = Look(look.language, "western", has_hijri=False, zone=look.zone)
    file.write(_BOM)
    writer = csv.writer(_TextWriter(file), lineterminator="\r\n")
    for number, section in enumerate(data.sections):
        if len(data.sections) > 1:
            writer.writerows([[]] * bool(number) + [[neutralise(plain.say(section.section.title))]])
        writer.writerow([neutralise(plain.say(column.header)) for column in section.columns])
        _write_rows(section, plain, writer, check_stop)


def neutralise(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe stands before what would begin one.

    Example:
        >>> neutralise("=1+1")
        "'=1+1"
    """
    return _FORMULA.sub(r"\1'\2", text)


def _write_rows(section: SectionData, look: Look, writer: Any, check_stop: Callable[[], None]) -> None:
    for number, row in enumerate(section.rows()):
        if number % 500 == 0:
            check_stop()
        writer.writerow([_cell(column, value, look) for column, value in zip(section.columns, row, strict=True)])


def _cell(column: Column, value: object, look: Look) -> str:
    if column.kind in ("integer", "decimal") and isinstance(value, int | float):
        return str(value)
    text = show(column, value, look)
    return text if column.kind in _TYPED else neutralise(text)


class _TextWriter:
    """What `csv` writes to: text that goes to a binary file as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())
