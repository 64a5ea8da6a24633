"""What the tests of PDF reports share: a report's description as the renderer gets it, and its file as it is read."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

from tests.integration.reports.conftest import NOW, Unit

from k9ops.reports.jobs import make_look
from k9ops.reports.pdf.document import Occasion, write_document
from k9ops.reports.pdf.fast import render_fast
from k9ops.reports.pdf.plain import render_plain

INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\u00ad\ufeff]")
PDFTOTEXT, PDFTOPPM = "/usr/bin/pdftotext", "/usr/bin/pdftoppm"
WAYS = {"plain": render_plain, "fast": render_fast}


def text_of(pdf: Path, *options: str) -> str:
    command = [PDFTOTEXT, "-q", *options, str(pdf), "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bare(text: str) -> str:
    """Return a text without vowel marks, tatweel, marks of direction and differences of spacing."""
    plain = INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Mn" and sign != "ـ")
    return re.sub(r"\s+", " ", plain)


def describe(unit: Unit, report: str, folder: Path, **given: str) -> dict[str, Any]:
    data = unit.read(report, folder, **given)
    look = make_look(unit.settings, data.values["language"])
    occasion = Occasion("user0001", NOW)
    path = write_document(data, look, unit.settings, occasion, folder, check_stop=lambda: None)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def replace_rows(document: dict[str, Any], rows: list[list[str]]) -> dict[str, Any]:
    """Put other rows into a document of one section."""
    section = document["sections"][0]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    Path(section["path"]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    section["row_count"] = len(rows)
    return document


def rows_of(document: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for section in document["sections"]:
        rows += [json.loads(line) for line in Path(section["path"]).read_text(encoding="utf-8").splitlines()]
    return rows
