"""A large report the plain way, in parts: each is HTML of some hundred rows that ends where a page ends.

Where pages end is found beforehand: WeasyPrint lays out each distinct text once, in the columns of the table, and so
the height of every row is known. So parts can be rendered side by side, and look as if they had been laid out as one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from weasyprint.formatting_structure import boxes

from k9ops.reports.pdf.fonts import check_glyphs
from k9ops.reports.pdf.frame import find_boxes, find_cells, lay_out_frame, lay_out_sample
from k9ops.reports.pdf.page import PageNumbers, Part, build_html, read_rows
from k9ops.reports.pdf.plain import check_pages, lay_out

#: A part ends with the first page that reaches this many cells (rows times columns).
PART_CELLS = 5_000
_MEASURED_ROWS = 400


@dataclass(frozen=True)
class PlannedPart:
    """What stands in one part.

    Attributes:
        spans: Number of a section, of its first row there, and how many rows.
        pages: How many pages it is expected to have.
    """

    spans: list[tuple[int, int, int]]
    pages: int


@dataclass
class _Lengths:
    """Rows on each page of a section, the height of its table there, and where a row is taller than a page."""

    rows: list[int] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    tall: list[bool] = field(default_factory=list)

    def add(self, rows: int, height: float, room: float) -> None:
        """Note a page."""
        self.rows.append(rows)
        self.heights.append(min(height, room))
        self.tall.append(height > room)


def plan_parts(document: Mapping[str, Any]) -> list[PlannedPart]:
    """Decide what stands in each part, and how many pages it will have.

    Raises:
        GlyphMissing: A character that the fonts lack.
        ReportTooLarge: It has more pages than the document allows.
    """
    found: dict[str, _Lengths] = {}
    for section in document["sections"]:
        if section["row_count"] and not section["chart"]:
            heights = {key: lengths.heights for key, lengths in found.items()}
            found[section["key"]] = _break_pages(document, section, heights)
            check_pages(document, sum(len(lengths.heights) for lengths in found.values()))
    pages = lay_out_frame(document, {key: lengths.heights for key, lengths in found.items()}).pages
    check_pages(document, len(pages))
    # The number of the page on which each piece of a table stands.
    places = iter([number for number, page in enumerate(pages) for _ in find_boxes(page, "slot")])
    parts: list[PlannedPart] = []
    spans: list[tuple[int, int, int]] = []
    first_page = cells = 0
    is_tall = False

    def end_part(page: int) -> None:
        pages = _count_pages(document, spans, is_first=not parts) if is_tall else page - first_page
        parts.append(PlannedPart(list(spans), pages))

    for number, section in enumerate(document["sections"]):
        start = stop = 0
        lengths = found.get(section["key"], _Lengths())
        for count, is_page_tall in zip(lengths.rows, lengths.tall, strict=True):
            page = next(places, len(pages) - 1)
            if cells >= PART_CELLS and stop > start and page > first_page:
                spans.append((number, start, stop - start))
                end_part(page)
                spans, start, first_page, cells, is_tall = [], stop, page, 0, False
            stop += count
            cells += count * len(section["columns"])
            is_tall = is_tall or is_page_tall
        spans.append((number, start, section["row_count"] - start))
    end_part(len(pages))
    check_pages(document, sum(part.pages for part in parts))
    return parts


def render_part(document: Mapping[str, Any], spans: Sequence[Sequence[int]], numbers: PageNumbers, output: Path) -> int:
    """Write one part without tags and return its number of pages.

    Raises:
        GlyphMissing: A character that the fonts lack.
    """
    laid_out = _lay_out_part(document, spans, numbers)
    laid_out.write_pdf(output, pdf_identifier=document["identifier"].encode(), pdf_tags=False)
    return len(laid_out.pages)


def _lay_out_part(document: Mapping[str, Any], spans: Sequence[Sequence[int]], numbers: PageNumbers) -> Any:
    parts = [Part(document["sections"][section], start, count) for section, start, count in spans]
    return lay_out(document, build_html(document, parts, numbers=numbers))


def _count_pages(document: Mapping[str, Any], spans: Sequence[Sequence[int]], *, is_first: bool) -> int:
    """Return how many pages a part has whose rows do not tell: one of them goes over several pages."""
    return len(_lay_out_part(document, spans, PageNumbers(1 if is_first else 2, 2)).pages)


def _break_pages(
    document: Mapping[str, Any], section: Mapping[str, Any], heights: Mapping[str, Sequence[float]]
) -> _Lengths:
    sample = lay_out_sample(document, section, heights)
    head_height, known = _measure(document, section)
    found = _Lengths()
    room, rows, y = sample.first_room, 0, head_height
    for texts in read_rows(Part(section, 0, section["row_count"])):
        height = max(lengths[text] for lengths, text in zip(known, texts, strict=True))
        if y + height > room:
            if rows:
                found.add(rows, y, room)
            room, rows, y = sample.room, 0, head_height
        rows += 1
        y += height
    found.add(rows, y, room)
    return found


def _measure(document: Mapping[str, Any], section: Mapping[str, Any]) -> tuple[float, list[dict[str, float]]]:
    """Return the height of the header, and by column the height of a cell with each text."""
    known: list[dict[str, float]] = [{} for _ in section["columns"]]
    names = [" / ".join(column["headers"]) for column in section["columns"]]
    for number, texts in enumerate(read_rows(Part(section, 0, section["row_count"]))):
        for name, lengths, text in zip(names, known, texts, strict=True):
            if text not in lengths:
                check_glyphs(text, where=f"record {number + 1}, {name}")
                lengths[text] = 0.0
    head_height = 0.0
    rows: list[tuple[str, ...]] = list(zip_longest(*known, fillvalue=""))
    for start in range(0, len(rows), _MEASURED_ROWS):
        some = rows[start : start + _MEASURED_ROWS]
        head_height, heights = _measure_rows(document, section, some)
        for measured, cells in zip(some, heights, strict=True):
            for lengths, text, height in zip(known, measured, cells, strict=True):
                lengths[text] = height
    return head_height, known


def _measure_rows(
    document: Mapping[str, Any], section: Mapping[str, Any], rows: Sequence[Sequence[str]]
) -> tuple[float, list[list[float]]]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".jsonl") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        alone = {**section, "path": file.name, "row_count": len(rows), "totals": [], "notes": None}
        html = build_html({**document, "sections": [alone]}, [Part(alone, 0, len(rows))])
    head_height = 0.0
    heights: dict[Any, float] = {}
    for page in lay_out(document, html).pages:
        for cell in find_cells(page, "whole"):
            if cell.element.tag == "th":
                head_height = cell.border_height()
            else:
                # A row that is taller than a page has a piece of each cell on each of its pages.
                heights[cell.element] = heights.get(cell.element, 0.0) + _read_height(cell)
    each = iter(heights.values())
    return head_height, [list(cells) for cells in zip(*[each] * len(section["columns"]), strict=True)]


def _read_height(cell: Any) -> float:
    """Return the height that a cell needs; the one laid out has that of its row."""
    lines = [(line.position_y, line.position_y + line.height) for line in _find_lines(cell)]
    text = max(end for _, end in lines) - min(start for start, _ in lines) if lines else 0.0
    return text + sum(
        float(getattr(cell.style[name], "value", cell.style[name])) for name in ("padding_top", "padding_bottom")
    )


def _find_lines(cell: Any) -> Iterator[Any]:
    return (box for box in cell.descendants() if isinstance(box, boxes.LineBox))
