"""Measures PDF reports: the drawn way against plain HTML tables, in one run, through the process that renders.

    python benchmarks/reports.py [ROWS ...]

Prints seconds, pages, rows a second, the peak memory of the rendering process, and how much faster than HTML it is.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from k9ops.config.settings import Settings
from k9ops.db.sample import names
from k9ops.outcome import Execution
from k9ops.reports.pdf import renderer

SIZES = (20, 1_000, 10_000, 50_000)
PLAIN_ROWS = 400
COLUMNS = (
    *(("التاريخ", 1.2, "date"), ("الاسم", 2.4, "text"), ("الرقم", 1.0, "code"), ("المشروع", 2.2, "text")),
    *(("الوردية", 1.0, "text"), ("الدخول", 0.8, "time"), ("الخروج", 0.8, "time"), ("الحالة", 1.0, "word")),
    *(("الكلب", 1.0, "text"), ("ملاحظات", 2.4, "text")),
)


def main() -> None:
    """Measure each size, each in a renderer that is warm."""
    sizes = [int(text) for text in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory() as folder:
        plain_s, _, _ = measure(Path(folder), PLAIN_ROWS)
        rate = PLAIN_ROWS / plain_s
        print(f"plain HTML, tagged: {PLAIN_ROWS} rows in {plain_s:.2f} s, {rate:.0f} rows/s")
        for rows in sizes:
            taken_s, pages, peak_mb = measure(Path(folder), rows)
            ratio = rows / taken_s / rate
            print(
                f"{rows:6,} rows: {taken_s:6.2f} s, {pages:5,} pages, {rows / taken_s:6.0f} rows/s,"
                f" peak {peak_mb:.0f} MB, {ratio:.1f} times plain HTML"
            )
    renderer.stop_renderer()


def measure(folder: Path, rows: int) -> tuple[float, int, float]:
    """Render a report of so many rows in a fresh, warm renderer: seconds, pages, peak memory in MB."""
    renderer.stop_renderer()
    settings, execution = Settings(), Execution()
    renderer.render_pdf(settings, write(folder, 5), folder / "warm.pdf", execution=execution)
    document = write(folder, rows)
    started_s = time.perf_counter()
    pages = renderer.render_pdf(settings, document, folder / "report.pdf", execution=execution)
    taken_s = time.perf_counter() - started_s
    assert renderer._renderer is not None
    status = Path(f"/proc/{renderer._renderer.pid}/status").read_text(encoding="ascii")
    peak_kb = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return taken_s, pages, int(peak_kb) / 1000


def write(folder: Path, rows: int) -> Path:
    """Write a document of invented attendance."""
    chance = random.Random(7)  # noqa: S311 - no secret
    cells = folder / "cells.jsonl"
    with cells.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(json.dumps(invent(chance, number), ensure_ascii=False) + "\n")
    columns = [{"headers": [header], "width": width, "kind": kind} for header, width, kind in COLUMNS]
    section: dict[str, Any] = {"key": "rows", "title": None, "columns": columns, "row_count": rows, "path": str(cells)}
    section |= {"totals": [["عدد السجلات", str(rows)]], "notes": None, "chart": None, "row_total": str(rows)}
    document = {
        "title": "تقرير الحضور",
        "language": "ar",
        "is_rtl": True,
        "digits": "western",
        "is_landscape": True,
        "unit": {"ar": "وحدة الكلاب", "en": "Police Dog Unit"},
        "logo": None,
        "facts": [],
        "occasion": [],
        "created_at": "2026-11-24T09:05:00+00:00",
        "identifier": "0" * 32,
        "max_pages": 100_000,
        "words": {"empty": "لا توجد سجلات", "page": "صفحة {page} من {pages}", "totals": "الإجماليات"},
        "sections": [section],
    }
    path = folder / "document.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def invent(chance: random.Random, number: int) -> list[str]:
    """Return a row."""
    person = (chance.choice(names.GIVEN_NAMES), chance.choice(names.FATHER_NAMES), chance.choice(names.FAMILY_NAMES))
    name = " ".join(person) if chance.random() < 0.8 else chance.choice(names.FOREIGN_NAMES)
    return [
        f"2026-{1 + number % 12:02d}-{1 + number % 28:02d}",
        name,
        f"EMP-{chance.randrange(1000, 9999)}",
        chance.choice(names.PROJECTS)[0],
        chance.choice(names.SHIFTS)[0],
        f"{chance.randrange(6, 9):02d}:{chance.randrange(60):02d}",
        f"{chance.randrange(14, 18):02d}:{chance.randrange(60):02d}",
        chance.choice(("حاضر", "غائب", "متأخر", "إجازة")),
        chance.choice(names.DOG_NAMES),
        chance.choice(("", "", names.TRAINING_NOTES[1], names.TRAINING_NOTES[2])),
    ]


if __name__ == "__main__":
    main()
