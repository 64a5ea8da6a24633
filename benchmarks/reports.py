"""Measures PDF reports against other engines, in one run, with the same invented rows of ten columns.

    python benchmarks/reports.py [--peers FOLDER] [--rounds N] [--chromium] [--naive-rows N] [--keep-readme]

The peers need an environment of their own, which it makes in FOLDER (/tmp/k9ops-peers): typst, reportlab,
arabic-reshaper, python-bidi, weasyprint. Chromium is Debian's. Peak memory is the PSS of the whole process tree.
Writes the section of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from readme import write_section

from k9ops.config.settings import Settings
from k9ops.db.sample import names
from k9ops.outcome import Execution
from k9ops.reports.pdf import renderer

PEER_SCRIPT = Path(__file__).with_name("report_peers.py")
PEER_PACKAGES = (
    "typst==0.15.2",
    "reportlab==5.1.0",
    "arabic-reshaper==3.1.0",
    "python-bidi==0.6.12",
    "weasyprint==70.0",
)
LARGE, HUGE, MEDIUM, SMALL = 10_000, 50_000, 1_000, 20
# Seconds between two looks at the memory; a tree of processes takes a millisecond or two.
_LOOK_S = 0.1
COLUMNS = (
    *(("التاريخ", 1.2, "date"), ("الاسم", 2.4, "text"), ("الرقم", 1.0, "code"), ("المشروع", 2.2, "text")),
    *(("الوردية", 1.0, "text"), ("الدخول", 0.8, "time"), ("الخروج", 0.8, "time"), ("الحالة", 1.0, "word")),
    *(("الكلب", 1.0, "text"), ("ملاحظات", 2.4, "text")),
)


@dataclass(frozen=True)
class Figure:
    """What a report took.

    Attributes:
        taken_s: Without imports.
        peak_mb: Of the whole tree.
        size_bytes: Of the file.
    """

    taken_s: float
    peak_mb: float
    size_bytes: int


def main() -> None:
    """Measure in rounds, each engine once in each, and write the section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, default=Path("/tmp/k9ops-peers"))  # noqa: S108 - a cache
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--naive-rows", type=int, default=MEDIUM)
    parser.add_argument("--chromium", action="store_true")
    parser.add_argument("--keep-readme", action="store_true")
    options = parser.parse_args()
    python = make_peers(options.peers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan: dict[str, Callable[[], Figure]] = {
            "k9ops 10000": lambda: measure_k9ops(folder, LARGE),
            "typst": lambda: measure_peer(python, folder, "typst", LARGE),
            "reportlab": lambda: measure_peer(python, folder, "reportlab", LARGE),
            "k9ops 50000": lambda: measure_k9ops(folder, HUGE),
            "k9ops 1000": lambda: measure_k9ops(folder, MEDIUM),
            "k9ops 20": lambda: best([measure_k9ops(folder, SMALL) for _ in range(5)]),
        }
        found: dict[str, list[Figure]] = {}
        for number in range(options.rounds):
            once = {"naive": lambda: measure_peer(python, folder, "weasyprint", options.naive_rows)}
            if options.chromium:
                once["chromium"] = lambda: measure_peer(python, folder, "chromium", LARGE)
            for what, measure in (plan if number else {**plan, **once}).items():
                figure = measure()
                found.setdefault(what, []).append(figure)
                print(f"{what:12} {figure.taken_s:7.2f} s {figure.peak_mb:6.0f} MB", flush=True)
    text = describe({what: best(figures) for what, figures in found.items()}, options)
    print(text)
    if not options.keep_readme:
        write_section("reports", text)


def make_peers(folder: Path) -> str:
    """Return the interpreter of an environment with the peers, made if it is not there."""
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
    return str(python)


def best(figures: list[Figure]) -> Figure:
    """Return the shortest time, which other work on the machine disturbed least, and the worst memory."""
    taken_s = min(figure.taken_s for figure in figures)
    return Figure(taken_s, max(figure.peak_mb for figure in figures), figures[0].size_bytes)


def describe(found: dict[str, Figure], options: argparse.Namespace) -> str:
    """Return the section: figures beside goals."""
    large, huge, medium, small = (found[f"k9ops {rows}"] for rows in (LARGE, HUGE, MEDIUM, SMALL))
    rows = [line("k9ops", LARGE, large, large), line("Typst 0.15.2, without tags", LARGE, found["typst"], large)]
    rows.append(line("ReportLab 5.1 with arabic-reshaper and python-bidi", LARGE, found["reportlab"], large))
    if "chromium" in found:
        rows.append(line("Chromium, plain HTML", LARGE, found["chromium"], large))
    rows.append(line("WeasyPrint 70, plain HTML", options.naive_rows, found["naive"], large))
    rows += [line("k9ops", size, found[f"k9ops {size}"], large) for size in (HUGE, MEDIUM, SMALL)]
    goals = [
        ("10,000 rows against Typst", "less", f"{large.taken_s / found['typst'].taken_s:.2f} x"),
        ("10,000 rows against ReportLab", "0.25 x", f"{large.taken_s / found['reportlab'].taken_s:.2f} x"),
        ("10,000 rows, memory", "300 MB", f"{large.peak_mb:.0f} MB"),
        ("50,000 rows against 10,000", "6 x", f"{huge.taken_s / large.taken_s:.2f} x"),
        ("50,000 rows, memory", "600 MB", f"{huge.peak_mb:.0f} MB"),
        ("1,000 rows", "3 s", f"{medium.taken_s:.2f} s"),
        ("two pages in a warm renderer", "0.5 s", f"{small.taken_s:.2f} s"),
    ]
    table = "\n".join(f"| {what} | {goal} | **{figure}** |" for what, goal, figure in goals)
    lines = "\n".join(rows)
    return f"""`benchmarks/reports.py`. The same invented rows of ten columns, mostly Arabic, on A4 landscape with a
repeated header and page numbers; {options.rounds} rounds in turn, the shortest time and the worst memory of each: the
PSS of the whole tree of processes, that of k9ops with the process that asks. Times are without imports. Chromium and
plain WeasyPrint are measured once. Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, which other work
shared.

| engine | rows | s | time a row, against k9ops with 10,000 | peak memory MB | PDF MB |
| --- | --- | --- | --- | --- | --- |
{lines}

| goal | at most | is |
| --- | --- | --- |
{table}

Time and memory of plain WeasyPrint grow with the rows. Twenty rows of k9ops stand on two pages and are tagged.
"""


def line(engine: str, rows: int, figure: Figure, base: Figure) -> str:
    """Return a row of the table."""
    ratio = (figure.taken_s / rows) / (base.taken_s / LARGE)
    size = figure.size_bytes / 1e6
    return f"| {engine} | {rows:,} | {figure.taken_s:.2f} | **{ratio:.2f}** | {figure.peak_mb:.0f} | {size:.2f} |"


def measure_k9ops(folder: Path, rows: int) -> Figure:
    """Render a report of so many rows in a fresh, warm renderer."""
    renderer.stop_renderer()
    settings, execution = Settings(), Execution()
    renderer.render_pdf(settings, write(folder, 5), folder / "warm.pdf", execution=execution)
    document, output = write(folder, rows), folder / "report.pdf"
    with Watch(os.getpid()) as watch:
        started_s = time.perf_counter()
        pages = renderer.render_pdf(settings, document, output, execution=execution)
        taken_s = time.perf_counter() - started_s
    assert pages == 2 or rows != SMALL
    renderer.stop_renderer()
    return Figure(taken_s, watch.peak_mb, output.stat().st_size)


def measure_peer(python: str, folder: Path, peer: str, rows: int) -> Figure:
    """Let a peer make its file in a process of its own."""
    write(folder, rows)
    output = folder / f"{peer}.pdf"
    command = [python, str(PEER_SCRIPT), peer, str(folder / "cells.jsonl"), str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, Watch(process.pid) as watch:
        said, _ = process.communicate()
    assert process.returncode == 0, peer
    return Figure(json.loads(said)["taken_s"], watch.peak_mb, output.stat().st_size)


class Watch:
    """The greatest memory of a process and all its children, while the block runs.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.peak_mb = 0.0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.peak_mb = max(self.peak_mb, sum(map(read_pss_mb, find_tree(self._pid))))


def find_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for folder in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (folder / "children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            found += find_tree(int(child))
    return found


def read_pss_mb(pid: int) -> float:
    """Return a process's share of memory; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024 / 1e6


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
