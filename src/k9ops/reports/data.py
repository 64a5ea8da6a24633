"""A report's rows, read once from one snapshot and kept on disk: every format is written from them.

No transaction stays open while a file is written, and memory does not grow with the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from k9ops.config.settings import Settings
from k9ops.errors import ReportTooLarge
from k9ops.outcome import Execution
from k9ops.reports.cells import Look, decode, encode, in_digits, say_date, say_month, show, show_number
from k9ops.reports.definition import Column, Report, Section
from k9ops.reports.parameters import Month
from k9ops.reports.reading import Reading, open_reading
from k9ops.reports.words import Words

_COUNT = Words("عدد السجلات", "Records")
_AVERAGE = Words("متوسط", "Average of")
_SUM = Words("مجموع", "Total of")
_PROGRESS_ROWS = 1000


@dataclass(frozen=True)
class SectionData:
    """A section and its rows.

    Attributes:
        section: Its definition.
        columns: Those of these parameters.
        row_count: How many rows it has.
        path: File with one JSON list a line.
        totals: By column key: a number, or how many rows have each value.
    """

    section: Section
    columns: tuple[Column, ...]
    row_count: int
    path: Path
    totals: Mapping[str, Any]

    def rows(self) -> Iterator[list[Any]]:
        """Yield the rows, values in the order of the columns and of their columns' types."""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield [decode(column, value) for column, value in zip(self.columns, json.loads(line), strict=True)]

    def show_totals(self, look: Look) -> list[tuple[str, str]]:
        """Return what stands below the table: names and values as text, the number of rows first.

        Averages are rounded to one decimal place.
        """
        lines = [(look.say(_COUNT), show_number(self.row_count, look))] if self.section.is_counted else []
        for column in self.columns:
            value = self.totals.get(column.key)
            if value is None:
                continue
            header = look.say(column.header)
            if column.total == "count_by":
                lines += [
                    (f"{header}: {name}", show_number(count, look)) for name, count in self._named(column, value, look)
                ]
            else:
                words = _SUM if column.total == "sum" else _AVERAGE
                text = show_number(value, look, is_decimal=column.total == "average" or column.kind == "decimal")
                lines.append((f"{look.say(words)} {header}", text))
        return lines

    def _named(self, column: Column, counts: Mapping[str, int], look: Look) -> Iterator[tuple[str, int]]:
        order = list(column.words)
        for key in sorted(counts, key=lambda key: (order.index(key) if key in order else len(order), key)):
            yield show(column, {"yes": True, "no": False}.get(key, key), look), counts[key]


@dataclass(frozen=True)
class ReportData:
    """Everything that a report says.

    Attributes:
        report: Its definition.
        values: Its parameters.
        labels: Names of what its references mean, by parameter.
        sections: Its tables.
        sha256: Digest of definition, parameters and rows: the same when nothing has changed.
        generation: Of the application.
    """

    report: Report
    values: Mapping[str, Any]
    labels: Mapping[str, str]
    sections: tuple[SectionData, ...]
    sha256: str
    generation: str

    @property
    def row_count(self) -> int:
        """Rows of all sections."""
        return sum(section.row_count for section in self.sections)

    def describe_parameters(self, look: Look) -> list[tuple[str, str]]:
        """Return the parameters that limit the report, as names and values for a person."""
        lines = []
        for parameter in self.report.parameters:
            value = self.values[parameter.name]
            if value is None:
                continue
            if parameter.kind == "choice":
                shown = look.say(parameter.choices[value])
            elif isinstance(value, Month):
                shown = say_month(value.first, look)
            elif isinstance(value, date):
                shown = say_date(value, look)
            else:
                shown = (
                    in_digits(self.labels[parameter.name], look)
                    if parameter.kind == "handler_report"
                    else self.labels[parameter.name]
                )
            lines.append((look.say(parameter.title), shown))
        return lines


def read_report(
    engine: Engine,
    settings: Settings,
    report: Report,
    values: Mapping[str, Any],
    *,
    today: date,
    folder: Path,
    execution: Execution,
    max_rows: int,
) -> ReportData:
    """Read all rows of a report into files.

    Args:
        engine: The application's database.
        settings: Time zone.
        report: What to read.
        values: Its parameters, checked.
        today: The unit's date.
        folder: For the rows, private and temporary.
        execution: Told the rows; asked whether to stop.
        max_rows: With more rows than this there is no report.

    Raises:
        ReportTooLarge: There are more.
        K9opsError: As `open_reading`.
    """
    digest = hashlib.sha256(f"{report.key}\0{_describe(values)}\0".encode())
    counter = _Counter(max_rows, execution)
    with open_reading(engine, report, values, zone=settings.zone, today=today, execution=execution) as reading:
        sections = tuple(_read_section(reading, section, folder, digest, counter) for section in report.sections)
        return ReportData(report, reading.values, reading.labels, sections, digest.hexdigest(), reading.generation)


class _Counter:
    def __init__(self, max_rows: int, execution: Execution) -> None:
        self.rows, self._max_rows, self._execution = 0, max_rows, execution

    def add(self) -> None:
        self.rows += 1
        if self.rows > self._max_rows:
            raise ReportTooLarge(
                f"The report has more than {self._max_rows:,} rows: choose a shorter period, a project,"
                " or the format xlsx.",
                max_rows=self._max_rows,
            )
        if self.rows % _PROGRESS_ROWS == 0:
            self._execution.report_progress(self.rows, 0, "rows")


def _read_section(reading: Reading, section: Section, folder: Path, digest: Any, counter: _Counter) -> SectionData:
    columns = section.columns_for(reading.values)
    path = folder / f"{section.key}.jsonl"
    totals, count = _Totals(columns), 0
    digest.update(f"{section.key}\0".encode())
    with path.open("w", encoding="utf-8") as file:
        for row in section.rows(reading):
            counter.add()
            values = [encode(row.get(column.key)) for column in columns]
            totals.add(values)
            line = json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"
            digest.update(line.encode())
            file.write(line)
            count += 1
    return SectionData(section, columns, count, path, totals.result())


class _Totals:
    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = [(index, column) for index, column in enumerate(columns) if column.total]
        self._sums: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = {}

    def add(self, values: list[Any]) -> None:
        for index, column in self._columns:
            value = values[index]
            if value is None or value == "":
                continue
            if column.total == "count_by":
                key = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
                self._counts.setdefault(column.key, Counter())[key] += 1
            else:
                self._sums[column.key] += value
                self._numbers[column.key] += 1

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = {key: dict(counts) for key, counts in self._counts.items()}
        for _, column in self._columns:
            if numbers := self._numbers[column.key]:
                total = self._sums[column.key]
                found[column.key] = total / numbers if column.total == "average" else total
        return found


def _describe(values: Mapping[str, Any]) -> str:
    return json.dumps({name: str(value) for name, value in sorted(values.items())}, ensure_ascii=False)
