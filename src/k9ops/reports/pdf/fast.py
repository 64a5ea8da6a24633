"""The fast way to a large PDF: WeasyPrint lays out the frame, rows are broken into pages beforehand and drawn on them.

Head, titles, totals, margins and page numbers are HTML as in the plain way; a table is a box of the right height, in
which header and rows are drawn. It writes no tags: that is for the plain way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weasyprint.document import Page
from weasyprint.formatting_structure import boxes

from k9ops.reports.pdf.fonts import check_glyphs
from k9ops.reports.pdf.frame import CannotDraw, find_boxes, find_cells, lay_out_frame, lay_out_sample
from k9ops.reports.pdf.packing import Packer
from k9ops.reports.pdf.page import COLUMN_LOOKS, Part, read_rows
from k9ops.reports.pdf.plain import check_pages
from k9ops.reports.pdf.shaping import CellStyle, ShapedLine, Shaper

_VARIANT = "pdf/a-3u"
_HEAD_FILL = b"0.071 0.224 0.357 rg"
_EVEN_FILL = b"0.929 0.945 0.961 rg"


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A row that has its place: lines of each cell, distance from the table's top, height."""

    cells: tuple[tuple[ShapedLine, ...], ...]
    top: float
    height: float
    is_even: bool


@dataclass(frozen=True)
class Slot:
    """The part of a table that stands on one page."""

    table: Table
    rows: Sequence[DrawnRow]

    @property
    def height(self) -> float:
        """Height of header and rows."""
        last = self.rows[-1]
        return last.top + last.height


def render_fast(document: Mapping[str, Any], output: Path) -> int:
    """Write a PDF without tags and return its number of pages.

    Raises:
        GlyphMissing: A character that the fonts lack.
        ReportTooLarge: It has more pages than the document allows.
        CannotDraw: A row is taller than a page.
    """
    was_collecting = gc.isenabled()
    gc.disable()  # what is made here lives until the end; looking through it takes a tenth of the time
    packer = Packer()
    try:
        shaper = Shaper(is_rtl=document["is_rtl"])
        slots: dict[str, list[Slot]] = {}
        for section in document["sections"]:
            if section["row_count"] and not section["chart"]:
                # The sections above are laid out already, so that it is known where this one begins.
                slots[section["key"]] = _break_pages(document, section, slots, shaper)
                check_pages(document, sum(map(len, slots.values())))
        laid_out = lay_out_frame(document, _heights(slots))
        check_pages(document, len(laid_out.pages))
        waiting = [slot for section in slots.values() for slot in section]
        for page in laid_out.pages:
            places = list(find_boxes(page, "slot"))
            page.paint = _make_painter(page, list(zip(waiting[: len(places)], places, strict=True)), shaper, packer)
            del waiting[: len(places)]
        if waiting:
            raise CannotDraw(f"{len(waiting)} parts of tables have no page")
        laid_out.write_pdf(output, pdf_identifier=document["identifier"].encode(), pdf_variant=_VARIANT, pdf_tags=False)
        return len(laid_out.pages)
    finally:
        packer.close()
        if was_collecting:
            gc.enable()


def _heights(slots: Mapping[str, Sequence[Slot]]) -> dict[str, list[float]]:
    return {key: [slot.height for slot in found] for key, found in slots.items()}


def _break_pages(
    document: Mapping[str, Any], section: Mapping[str, Any], slots: Mapping[str, Sequence[Slot]], shaper: Shaper
) -> list[Slot]:
    sample = lay_out_sample(document, section, _heights(slots))
    table = _measure_table(sample.page, section, shaper)
    found: list[Slot] = []
    rows: list[DrawnRow] = []
    room, y = sample.first_room, table.head_height
    for number, texts in enumerate(read_rows(Part(section, 0, section["row_count"]))):
        cells = table.split(texts, number, shaper)
        height = table.row_height(cells)
        if rows and y + height > room:
            found.append(Slot(table, rows))
            rows, room, y = [], sample.room, table.head_height
        if y + height > room:
            raise CannotDraw(f"record {number + 1} of {section['key']} is taller than its page")
        rows.append(DrawnRow(cells, y, height, number % 2 == 1))
        y += height
    return [*found, Slot(table, rows)]


class Table:
    """A table's columns, from a sample that WeasyPrint has laid out.

    Args:
        section: Its description.
        edges: Left and right edge of each column, in CSS pixels, in reading order.
        head: Style of each header.
        body: Style of each column's cells.
        shaper: Breaks the headers.
    """

    def __init__(
        self,
        section: Mapping[str, Any],
        edges: Sequence[tuple[float, float]],
        head: Sequence[CellStyle],
        body: Sequence[CellStyle],
        shaper: Shaper,
    ) -> None:
        self.edges, self.head, self.body = edges, head, body
        self._names = [" / ".join(column["headers"]) for column in section["columns"]]
        self._checked: set[str] = set()
        self.headers = tuple(
            shaper.split("\n".join(column["headers"]), style, right - left - style.left - style.right)
            for column, style, (left, right) in zip(section["columns"], head, edges, strict=True)
        )
        self.head_height = max(
            len(lines) * style.leading + style.top + style.bottom
            for lines, style in zip(self.headers, head, strict=True)
        )

    def split(self, texts: Sequence[str], number: int, shaper: Shaper) -> tuple[tuple[ShapedLine, ...], ...]:
        """Break the texts of a row."""
        cells = []
        for place, (text, style, (left, right)) in enumerate(zip(texts, self.body, self.edges, strict=True)):
            if text and text not in self._checked:
                check_glyphs(text, where=f"record {number + 1}, {self._names[place]}")
                self._checked.add(text)
            cells.append(shaper.split(text, style, right - left - style.left - style.right) if text else ())
        return tuple(cells)

    def row_height(self, cells: Sequence[Sequence[ShapedLine]]) -> float:
        """Return the height of a row: that of its tallest cell."""
        return max(
            max(1, len(lines)) * style.leading + style.top + style.bottom
            for lines, style in zip(cells, self.body, strict=True)
        )


def _measure_table(page: Any, section: Mapping[str, Any], shaper: Shaper) -> Table:
    found = list(find_cells(page, "probe"))
    half = len(section["columns"])
    head, body = found[:half], found[half : 2 * half]
    edges = [(box.position_x, box.position_x + box.border_width()) for box in body]
    looks = [COLUMN_LOOKS.get(column["kind"], "") for column in section["columns"]]
    head_styles = [_measure_cell(box, f"th {look}") for box, look in zip(head, looks, strict=True)]
    body_styles = [_measure_cell(box, f"td {look}") for box, look in zip(body, looks, strict=True)]
    return Table(section, edges, head_styles, body_styles, shaper)


def _measure_cell(box: Any, name: str) -> CellStyle:
    text = next(child for child in box.descendants() if isinstance(child, boxes.TextBox))
    line = next(child for child in box.descendants() if isinstance(child, boxes.LineBox))
    red, green, blue = text.style["color"].to("srgb").coordinates[:3]
    align = box.style["text_align_all"]
    return CellStyle(
        text.style,
        name,
        line.height,
        box.padding_left,
        box.padding_right,
        _css_padding(box, "padding_top"),
        _css_padding(box, "padding_bottom"),
        align if align in ("left", "right", "center") else "left",
        b"%.3f %.3f %.3f rg" % (red, green, blue),
    )


def _css_padding(box: Any, name: str) -> float:
    """Return a cell's own padding; the one laid out has room for vertical alignment added."""
    value = box.style[name]
    return float(getattr(value, "value", value))


def _make_painter(page: Any, filled: Sequence[tuple[Slot, Any]], shaper: Shaper, packer: Packer) -> Callable[..., None]:
    def paint(stream: Any, scale: float = 1) -> None:
        Page.paint(page, stream, scale)
        with stream.stacked():
            stream.transform(a=scale, d=scale)
            for slot, box in filled:
                _draw_slot(stream, slot, box.position_y, shaper)
        stream._current_font = None
        packer.pack(stream)

    return paint


def _draw_slot(stream: Any, slot: Slot, y: float, shaper: Shaper) -> None:
    table = slot.table
    left = min(edge[0] for edge in table.edges)
    width = max(edge[1] for edge in table.edges) - left
    stream.stream.append(_HEAD_FILL + b" %.2f %.2f %.2f %.2f re f" % (left, y, width, table.head_height))
    shades = [b"%.2f %.2f %.2f %.2f re" % (left, y + row.top, width, row.height) for row in slot.rows if row.is_even]
    if shades:
        stream.stream.append(_EVEN_FILL + b"\n" + b"\n".join(shades) + b" f")
    stream.stream.append(b"BT")
    color = b""
    for cells, styles, top, height in (
        (table.headers, table.head, y, table.head_height),
        *((row.cells, table.body, y + row.top, None) for row in slot.rows),
    ):
        for lines, style, edges in zip(cells, styles, table.edges, strict=True):
            if lines and style.color != color:
                stream.stream.append(style.color)
                color = style.color
            place = top + style.top
            if height is not None:  # headers stand in the middle
                place = top + (height - len(lines) * style.leading) / 2
            for number, line in enumerate(lines):
                if line.text:
                    shaper.draw(
                        stream, line, style, _find_x(line, style, edges), place + number * style.leading + line.baseline
                    )
    stream.stream.append(b"ET")


def _find_x(line: ShapedLine, style: CellStyle, edges: tuple[float, float]) -> float:
    left, right = edges[0] + style.left, edges[1] - style.right
    if style.align == "left":
        return left
    return right - line.width if style.align == "right" else (left + right - line.width) / 2
