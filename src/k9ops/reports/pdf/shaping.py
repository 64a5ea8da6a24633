"""Cell texts as PDF operators: each distinct text is broken and shaped once, by WeasyPrint's own code.

This rests on the inside of WeasyPrint 70.0; `tuning.is_known_version` tells whether it may be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weasyprint.draw.text import draw_first_line
from weasyprint.formatting_structure import boxes
from weasyprint.matrix import Matrix
from weasyprint.text.line_break import split_first_line

from k9ops.reports.pdf.isolation import find_open_marks, isolate


@dataclass(frozen=True)
class CellStyle:
    """How a kind of cell looks, as WeasyPrint computed it, in CSS pixels.

    Attributes:
        style: Of its text.
        name: Of the kind.
        leading: Height of a line.
        left, right, top, bottom: Padding.
        align: `left`, `right` or `center`.
        color: Operator that sets it.
    """

    style: Any
    name: str
    leading: float
    left: float
    right: float
    top: float
    bottom: float
    align: str
    color: bytes


@dataclass(frozen=True, slots=True)
class ShapedLine:
    """A line of a cell: its text, width, and the distance of its baseline from the line's top."""

    text: str
    width: float
    baseline: float


class Shaper:
    """Breaks and shapes texts for one document."""

    def __init__(self, *, is_rtl: bool) -> None:
        self._is_rtl = is_rtl
        self._lines: dict[tuple[str, str, float], tuple[ShapedLine, ...]] = {}
        self._operators: dict[tuple[str, str], bytes] = {}

    def split(self, text: str, cell: CellStyle, width: float) -> tuple[ShapedLine, ...]:
        """Return the lines of a text in a width."""
        key = (text, cell.name, width)
        if key not in self._lines:
            lines: list[ShapedLine] = []
            for paragraph in isolate(text, is_rtl=self._is_rtl).split("\n"):
                lines += self._split_paragraph(paragraph, cell, width)
            self._lines[key] = tuple(lines)
        return self._lines[key]

    def draw(self, stream: Any, line: ShapedLine, cell: CellStyle, x: float, baseline: float) -> None:
        """Draw a line of a cell with its left end at a place."""
        key = (line.text, cell.name)
        if key not in self._operators:
            self._operators[key] = self._record(stream, line.text, cell)
        stream.stream.append(b"1 0 0 -1 %.2f %.2f Tm\n" % (x, baseline) + self._operators[key])

    def _split_paragraph(self, paragraph: str, cell: CellStyle, width: float) -> list[ShapedLine]:
        lines = []
        rest: str = paragraph.strip()
        while rest:
            found = split_first_line(rest, cell.style, None, width, 0)
            _, _, resume, line_width, height, baseline = found
            data = rest.encode()
            part = (data[:resume].decode() if resume else rest).strip()
            lines.append(ShapedLine(part, line_width, baseline + (cell.leading - height) / 2))
            rest = data[resume:].decode().strip() if resume else ""
            # A piece of the other direction that goes on in the next line is opened again there.
            rest = f"{find_open_marks(part)}{rest}" if rest else ""
        return lines or [ShapedLine("", 0.0, 0.0)]

    def _record(self, stream: Any, text: str, cell: CellStyle) -> bytes:
        box = boxes.TextBox("td::text", cell.style, None, text)
        box.pango_layout = split_first_line(text, cell.style, None, None, 0)[0]
        box.pango_layout.reactivate(cell.style)
        stream._current_font = None  # so that the operators choose their font themselves
        start = len(stream.stream)
        draw_first_line(stream, box, "clip", "none", Matrix(d=-1))
        operators = stream.stream[start + 1 :]  # without the text matrix
        del stream.stream[start:]
        return b"\n".join(item if isinstance(item, bytes) else str(item).encode() for item in operators)
