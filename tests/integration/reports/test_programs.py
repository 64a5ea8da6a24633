"""A report's spreadsheet in LibreOffice and openpyxl, and its PDF as a screen reader walks it: the same rows."""

from __future__ import annotations

import csv
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
from tests.integration.reports.conftest import NOW, Unit
from tests.integration.reports.documents import WAYS, bare, describe
from tests.integration.reports.test_spreadsheets import EVIL, as_text

from k9ops.reports.catalogue import REPORTS
from k9ops.reports.jobs import make_look
from k9ops.reports.xlsx_file import write_xlsx

PDFINFO, SOFFICE = "/usr/bin/pdfinfo", "/usr/bin/soffice"
# Comma, quotation mark, UTF-8, from the first line; values as they are shown, no formulas, every sheet.
AS_SHOWN = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,true,false,false,-1"
# Some rows of each report are enough; those without a period have a project.
SHORTER = {
    "attendance": {"project": "PRJ-001", "from": "2026-10-31", "to": "2026-10-31"},
    "attendance_monthly": {"project": "PRJ-001", "month": "2026-10"},
    "employees": {"project": "PRJ-001"},
    "breeding": {},
}
PERIOD = {"from": "2026-10-31", "to": "2026-10-31"}

Table = list[list[str]]


def convert(folder: Path, *files: Path) -> None:
    """Let one LibreOffice, with a profile of its own, write every sheet of every file as CSV."""
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [SOFFICE, profile, "--headless", "--norestore", "--convert-to", AS_SHOWN, "--outdir", str(folder)]
    subprocess.run([*command, *map(str, files)], check=True, capture_output=True, timeout=300)


def read_sheet(folder: Path, file: Path, sheet: str) -> Table:
    with (folder / f"{file.stem}-{sheet}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def walk_tables(pdf: Path) -> list[Table]:
    """Return the tables of a tagged PDF: rows of cells. The letters of a cell are in the order in which they stand.

    On each page a table is one of its own, with the header again: those belong together.
    """
    shown = subprocess.run([PDFINFO, "-struct-text", str(pdf)], capture_output=True, text=True, check=True).stdout
    tables: list[Table] = []
    is_inside = False
    for line in shown.splitlines():
        word = re.split(r"[\s:<(]", line.strip(), maxsplit=1)[0]
        if word == "Table":
            tables.append([])
            is_inside = True
        elif re.fullmatch(r"H\d|P|L|Sect", word):
            is_inside = False
        elif is_inside and word == "TR":
            tables[-1].append([])
        elif is_inside and word in ("TH", "TD"):
            tables[-1][-1].append("")
        elif is_inside and line.strip().startswith('"'):
            tables[-1][-1][-1] += line.strip()[1:-1]
    together: list[Table] = []
    for table in tables:
        if together and together[-1][0] == table[0]:
            together[-1] += table[1:]
        else:
            together.append(table)
    return together


def letters(cell: str) -> Counter[str]:
    """Return which signs a cell has, spaces and sides of brackets aside."""
    return Counter(re.sub(r"[\s()\[\]]", "", bare(cell)))


def is_same(cells: Sequence[str], shown: Sequence[str]) -> bool:
    """Tell whether the PDF shows these cells.

    Letters with vowel marks carry their text beside them, where pdfinfo does not look: `test_pdf.py` reads those.
    """
    return len(cells) == len(shown) and all(
        bare(cell) != cell or letters(cell) == letters(other) for cell, other in zip(cells, shown, strict=True)
    )


def make_files(unit: Unit, report: str, folder: Path) -> tuple[dict[str, Any], Path, Path]:
    """Return a report's description, its tagged PDF and its spreadsheet."""
    given = SHORTER.get(report)
    if given is None:
        given = PERIOD if "from" in {item.name for item in REPORTS[report].parameters} else {}
    document = describe(unit, report, folder, **given)
    WAYS["plain"](document, folder / "x.pdf")
    book = folder.parent / f"{report}-{unit.generation}.xlsx"
    with book.open("w+b") as file:
        data, look = unit.read(report, folder, **given), make_look(unit.settings, "ar")
        write_xlsx(data, look, file, created_at=NOW, unit="", check_stop=lambda: None)
    return document, folder / "x.pdf", book


def compare_section(section: dict[str, Any], sheet: Any, rows: Table, table: Table) -> list[str]:
    """Return what a section's sheet in openpyxl and in LibreOffice, and its table in the PDF, do not have in common."""
    problems = []
    if not len(rows) == sheet.max_row == section["row_count"] + 1:
        problems.append(f"{len(rows)} lines in LibreOffice, {sheet.max_row} in openpyxl")
    opened = [["" if value is None else as_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    for row, other in zip(rows, opened, strict=False):
        # LibreOffice shows numbers by their format, openpyxl gives them as they are.
        if [number_or_text(value) for value in row] != [number_or_text(value) for value in other]:
            problems.append(f"LibreOffice has {row}, openpyxl {other}")
    if section["chart"]:
        rows = [["".join(row) for row in rows[1:]]]
    if len(rows) != len(table):
        problems.append(f"{len(rows)} lines in LibreOffice, {len(table)} in the PDF")
    for row, other in zip(rows, table, strict=False):
        if not is_same(row, other):
            problems.append(f"LibreOffice has {row}, the PDF {other}")
    return problems


def number_or_text(value: str) -> float | str:
    try:
        return float(value.replace(",", ""))
    except ValueError:
        return value


def test_spreadsheet_and_pdf_of_every_report_show_the_same_rows(seeded_a: Unit, seeded_b: Unit, tmp_path: Path) -> None:
    made = {}
    for unit, reports in ((seeded_b, list(REPORTS)), (seeded_a, ["attendance", "daily_schedule", "operations"])):
        for report in reports:
            folder = tmp_path / f"{report}-{unit.generation}.files"
            folder.mkdir()
            made[f"{report} {unit.generation}"] = make_files(unit, report, folder)
    convert(tmp_path, *(book for _, _, book in made.values()))
    problems = []
    for name, (document, pdf, path) in made.items():
        book = openpyxl.load_workbook(path)
        sheets = [(sheet, read_sheet(tmp_path, path, sheet.title)) for sheet in book.worksheets[:-1]]
        filled = [pair for pair in zip(document["sections"], sheets, strict=True) if pair[0]["row_count"]]
        assert [len(rows) for _, rows in sheets if len(rows) > 1] == [part["row_count"] + 1 for part, _ in filled]
        for (section, (sheet, rows)), table in zip(filled, walk_tables(pdf), strict=True):
            problems += [f"{name}, {section['key']}: {line}" for line in compare_section(section, sheet, rows, table)]
    assert len(made) == len(REPORTS) + 3
    assert problems == []


def test_libreoffice_runs_nothing_that_stands_in_a_cell(unit: Unit, tmp_path: Path) -> None:
    dogs = "SELECT string_agg(breed, '|' ORDER BY code) FROM (SELECT * FROM public.dog ORDER BY code LIMIT 8) d"
    before = unit.scalar(dogs).split("|")
    change = "UPDATE public.dog SET breed = :breed WHERE code = :code"
    codes = [f"K9-{number:03d}" for number in range(1, len(EVIL) + 1)]
    for code, breed in zip(codes, EVIL, strict=True):
        unit.execute(change, {"code": code, "breed": breed})
    try:
        files = []
        for kind in ("xlsx", "csv"):
            files.append(tmp_path / f"dogs-{kind}.{kind}")
            files[-1].write_bytes(unit.make("dogs", format=kind)[1])
    finally:
        for code, breed in zip(codes, before, strict=True):
            unit.execute(change, {"code": code, "breed": breed})
    (tmp_path / "out").mkdir()
    convert(tmp_path / "out", *files)
    shown = [
        {row[0]: row[2] for row in csv.reader(path.read_text(encoding="utf-8").splitlines())}
        for path in sorted((tmp_path / "out").glob("dogs-*.csv"))
        if "الإجماليات" not in path.name
    ]
    assert len(shown) == 2
    for table in shown:
        assert [table[code].removeprefix("'") for code in codes] == [evil.strip() for evil in EVIL]
