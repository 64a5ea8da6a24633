"""A report's frame: everything but the rows of its tables, which have empty boxes of their height instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weasyprint.formatting_structure import boxes

from k9ops.reports.pdf.page import build_html, whole
from k9ops.reports.pdf.plain import lay_out

_SLACK = 0.5  # CSS pixels that rounding may take
_PAGE_HEIGHT = {True: 210 * 96 / 25.4, False: 297 * 96 / 25.4}


class CannotDraw(Exception):
    """A report that cannot be drawn on its frame: it goes the plain way."""


@dataclass(frozen=True)
class Sample:
    """A table of one row in its place: what is known before the rows are.

    Attributes:
        page: On which it stands.
        first_room: Height from the table's top to the end of that page, in CSS pixels.
        room: The same on the pages after it.
    """

    page: Any
    first_room: float
    room: float


def lay_out_frame(document: Mapping[str, Any], heights: Mapping[str, Sequence[float]], *, until: str = "") -> Any:
    """Lay out the report with boxes for tables; with `until`, only up to that section, which gets a sample table.

    Args:
        document: Its description.
        heights: By section, the height of its table on each page, in CSS pixels.
        until: Key of a section.
    """
    parts = whole(document)
    if until:
        place = [part.section["key"] for part in parts].index(until)
        parts = parts[: place + 1]
    return lay_out(document, build_html(document, parts, slot_heights=heights, probed=until or None))


def lay_out_sample(document: Mapping[str, Any], section: Mapping[str, Any], heights: Mapping[str, Any]) -> Sample:
    """Lay out a section's sample below the sections above it, whose heights are known."""
    pages = lay_out_frame(document, heights, until=section["key"]).pages
    page = next(page for page in reversed(pages) if list(find_boxes(page, "probe")))
    margins = pages[-1]._page_box
    top, bottom = margins.margin_top, _PAGE_HEIGHT[document["is_landscape"]] - margins.margin_bottom
    head = next(box for box in find_cells(page, "probe"))
    return Sample(page, bottom - head.position_y - _SLACK, bottom - top - _SLACK)


def find_boxes(page: Any, name: str) -> Iterator[Any]:
    """Yield the blocks of a class on a page."""
    for box in page._page_box.descendants():
        element = getattr(box, "element", None)
        if element is not None and isinstance(box, boxes.BlockBox) and element.get("class") == name:
            yield box


def find_cells(page: Any, name: str) -> Iterator[Any]:
    """Yield the cells, headers too, of the tables in a class's blocks on a page."""
    for block in find_boxes(page, name):
        yield from (box for box in block.descendants() if isinstance(box, boxes.TableCellBox))
