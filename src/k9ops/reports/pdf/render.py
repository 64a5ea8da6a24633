"""Which way a report goes: small ones are tagged HTML, large ones are drawn, or are HTML in parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k9ops.reports.pdf.frame import CannotDraw
from k9ops.reports.pdf.parts import PlannedPart, plan_parts
from k9ops.reports.pdf.plain import render_plain
from k9ops.reports.pdf.tuning import is_known_version

#: Up to this many cells (rows times columns) a report is plain and tagged.
PLAIN_CELLS = 5_000


def render_document(document: Mapping[str, Any], output: Path) -> int | list[PlannedPart]:
    """Write a PDF and return its number of pages; or the parts that it must be rendered in, and write nothing.

    Raises:
        GlyphMissing: A character that the fonts lack.
        ReportTooLarge: It has more pages than the document allows.
    """
    cells = sum(section["row_count"] * len(section["columns"]) for section in document["sections"])
    if cells <= PLAIN_CELLS:
        return render_plain(document, output)
    if is_known_version():
        from k9ops.reports.pdf.fast import render_fast  # the inside of another version may be elsewhere

        try:
            return render_fast(document, output)
        except CannotDraw:
            pass
    return plan_parts(document)
