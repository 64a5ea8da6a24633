"""A document's description as HTML and CSS, by templates that escape everything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from k9ops.reports.pdf.chart import draw_bars
from k9ops.reports.pdf.fonts import FONT_FILES, FONT_FOLDER, check_glyphs
from k9ops.reports.pdf.isolation import isolate

TEMPLATE_FOLDER = Path(__file__).parents[1] / "templates"

_FAMILIES = ("K9 Naskh", "K9 Naskh", "K9 Sans", "K9 Sans")
_WEIGHTS = (400, 700, 400, 700)
_DENSE_COLUMNS = 16
_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
COLUMN_LOOKS = {"integer": "n", "decimal": "n", "time": "c", "yes_no": "c"}


@dataclass(frozen=True)
class Cell:
    """A cell: its text, escaped by the template, and its class."""

    text: str
    look: str


@dataclass(frozen=True)
class Line:
    """A row of a table."""

    cells: Sequence[Cell]
    is_even: bool


@dataclass(frozen=True)
class Part:
    """Rows of a section that are laid out together.

    Attributes:
        section: Its description.
        start: Number of its first row in the section.
        count: How many rows.
    """

    section: Mapping[str, Any]
    start: int
    count: int


@dataclass(frozen=True)
class PageNumbers:
    """Where an excerpt stands in the whole report.

    Attributes:
        first: Number of its first page, from 1.
        total: Pages of the whole.
    """

    first: int
    total: int


def build_html(
    document: Mapping[str, Any],
    parts: Sequence[Part],
    *,
    numbers: PageNumbers | None = None,
    slot_heights: Mapping[str, Sequence[float]] | None = None,
    probed: str | None = None,
) -> str:
    """Return a document, or the beginning of it, as HTML.

    Args:
        document: Its description.
        parts: What stands in it.
        numbers: Of an excerpt, which has the report's head on page 1 only; None is a whole report, which counts itself.
        slot_heights: For sections whose tables are drawn later: the height, in CSS pixels, on each page.
        probed: A section that gets a sample table of one row.

    Raises:
        GlyphMissing: A character that the fonts lack.
    """
    is_rtl = document["is_rtl"]
    _check_frame(document)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["isolate"] = lambda text: isolate(text, is_rtl=is_rtl)
    names = zip(_FAMILIES, ((FONT_FOLDER / name).as_uri() for name in FONT_FILES), _WEIGHTS, strict=True)
    css = environment.get_template("report.css").render(
        fonts=list(names),
        is_rtl=is_rtl,
        is_landscape=document["is_landscape"],
        digits=document["digits"],
        first_page=numbers.first if numbers else 1,
        page_total=_say_total(numbers, document["digits"]) if numbers else None,
    )
    before, _, rest = document["words"]["page"].partition("{page}")
    between, _, after = rest.partition("{pages}")
    return environment.get_template("report.html").render(
        d=document,
        css=Markup(css),  # noqa: S704 - from the package's own template and numbers
        logo=Path(document["logo"]).as_uri() if document["logo"] else None,
        page_words=(before, between, after),
        has_head=numbers is None or numbers.first == 1,
        sections=[_describe_part(part, document, slot_heights or {}, probed) for part in parts],
    )


def whole(document: Mapping[str, Any]) -> list[Part]:
    """Return a document in one piece: every section with all its rows."""
    return [Part(section, 0, section["row_count"]) for section in document["sections"]]


def read_rows(part: Part) -> Iterator[list[str]]:
    """Yield the cells of a part's rows."""
    with Path(part.section["path"]).open(encoding="utf-8") as file:
        for line in islice(file, part.start, part.start + part.count):
            yield json.loads(line)


def _describe_part(
    part: Part, document: Mapping[str, Any], slot_heights: Mapping[str, Sequence[float]], probed: str | None
) -> dict[str, Any]:
    section, is_rtl = part.section, document["is_rtl"]
    is_drawn_later = section["key"] in slot_heights or section["key"] == probed
    total = sum(column["width"] for column in section["columns"])
    return {
        **{name: section[name] for name in ("key", "title", "row_count", "totals", "notes")},
        "columns": [{**column, "look": COLUMN_LOOKS.get(column["kind"], "")} for column in section["columns"]],
        "slots": [f"{height:.2f}" for height in slot_heights.get(section["key"], ())],
        "is_probed": section["key"] == probed,
        "is_begun": part.start > 0,
        "is_ended": part.start + part.count == section["row_count"],
        "is_dense": len(section["columns"]) > _DENSE_COLUMNS,
        "shares": [f"{100 * column['width'] / total:.3f}" for column in section["columns"]],
        "chart": draw_bars(section["chart"], title=section["title"] or document["title"], is_rtl=is_rtl)
        if section["chart"]
        else None,
        "bars": section["chart"],
        "rows": [] if is_drawn_later else _make_lines(part, is_rtl=is_rtl),
    }


def _make_lines(part: Part, *, is_rtl: bool) -> Iterator[Line]:
    columns = part.section["columns"]
    looks = [COLUMN_LOOKS.get(column["kind"], "") for column in columns]
    made: dict[str, str] = {}
    for number, cells in enumerate(read_rows(part), start=part.start):
        line = []
        for column, look, text in zip(columns, looks, cells, strict=True):
            marked = made.get(text)
            if marked is None:
                check_glyphs(text, where=f"record {number + 1}, {' / '.join(column['headers'])}")
                marked = made[text] = isolate(text, is_rtl=is_rtl)
            line.append(Cell(marked, look))
        yield Line(line, is_even=number % 2 == 1)


def _say_total(numbers: PageNumbers, digits: str) -> str:
    return str(numbers.total).translate(_ARABIC_DIGITS if digits == "arabic" else {})


def _check_frame(document: Mapping[str, Any]) -> None:
    for place, texts in (
        ("the title", [document["title"]]),
        ("K9OPS_UNIT_NAME_AR or K9OPS_UNIT_NAME_EN", document["unit"].values()),
        ("the parameters", [text for pair in document["facts"] for text in pair]),
        ("who asked for it", [text for pair in document["occasion"] for text in pair]),
        ("the totals", [text for section in document["sections"] for pair in section["totals"] for text in pair]),
    ):
        for text in texts:
            check_glyphs(text, where=place)
