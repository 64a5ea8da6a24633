"""What the rendering process is told: a report as texts, in one JSON file beside the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from k9ops.config.settings import Settings
from k9ops.reports.cells import Look, in_digits, say_date, show, show_number
from k9ops.reports.data import ReportData, SectionData
from k9ops.reports.definition import Column
from k9ops.reports.words import Words

_LONGEST_CELL = 2_000
_CUT = Words("… (النص أطول)", "… (the text is longer)")
_STOP_ROWS = 500
# Widths of letters at the tables' size, bold, with some to spare.
_LATIN_MM, _ARABIC_MM = 1.95, 1.6
_PADDING_MM = {"integer": 4.2, "decimal": 4.2}
_LEAST_MM = {"date": 16.2, "time": 8.2, "moment": 25.0}
_FITTING_ROUNDS = 4
_DENSE_COLUMNS = 16

_ASKED_BY = Words("طلبه", "Asked for by")
_MADE_AT = Words("أُعد في", "Made at")
_EMPTY = Words("لا توجد سجلات مطابقة في هذه الفترة.", "There are no records that match.")
_PAGE = Words("صفحة {page} من {pages}", "Page {page} of {pages}")
_TOTALS = Words("الإجماليات", "Totals")


@dataclass(frozen=True)
class Occasion:
    """Why and when a report is made.

    Attributes:
        requested_by: Shown in the header; None leaves it out.
        created_at: Aware.
    """

    requested_by: str | None
    created_at: datetime


def write_document(
    data: ReportData,
    look: Look,
    settings: Settings,
    occasion: Occasion,
    folder: Path,
    *,
    check_stop: Callable[[], None],
) -> Path:
    """Write the document's description and the shown rows into a folder, and return the description's path."""
    one = look.first_language
    document = {
        "title": look.say(data.report.title),
        "language": one,
        "is_rtl": look.is_rtl,
        "digits": look.digits,
        "is_landscape": data.report.is_landscape,
        "unit": {"ar": settings.unit_name_ar, "en": settings.unit_name_en},
        "logo": str(settings.report_logo.resolve()) if settings.report_logo else None,
        "facts": data.describe_parameters(look),
        "occasion": _describe_occasion(occasion, look),
        "created_at": occasion.created_at.isoformat(),
        "identifier": data.sha256[:32],
        "max_pages": settings.report_max_pages,
        "words": {
            "empty": look.say(_EMPTY),
            "page": _PAGE.say(one),
            "totals": look.say(_TOTALS),
        },
        "sections": [_write_section(section, data, look, folder, check_stop) for section in data.sections],
    }
    path = folder / "document.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def _describe_occasion(occasion: Occasion, look: Look) -> list[tuple[str, str]]:
    local = occasion.created_at.astimezone(look.zone)
    made = f"{say_date(local.date(), look)} {in_digits(f'{local:%H:%M}', look)}"
    asked = [(look.say(_ASKED_BY), occasion.requested_by)] if occasion.requested_by else []
    return [*asked, (look.say(_MADE_AT), made)]


def _write_section(
    section: SectionData, data: ReportData, look: Look, folder: Path, check_stop: Callable[[], None]
) -> Mapping[str, Any]:
    path = folder / f"{section.section.key}.cells.jsonl"
    chart: list[tuple[str, float, str]] = []
    widths = fit_widths(section.columns, look, is_landscape=data.report.is_landscape)
    drawn = section.section.chart
    keys = [column.key for column in section.columns]
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(section.rows()):
            if number % _STOP_ROWS == 0:
                check_stop()
            cells = [
                _shorten(show(column, value, look), look) for column, value in zip(section.columns, row, strict=True)
            ]
            file.write(json.dumps(cells, ensure_ascii=False, separators=(",", ":")) + "\n")
            if drawn is not None:
                value = row[keys.index(drawn.value)]
                chart.append((cells[keys.index(drawn.label)], float(value or 0), cells[keys.index(drawn.value)]))
    return {
        "key": section.section.key,
        "title": look.say(section.section.title) if len(data.sections) > 1 else None,
        "columns": [
            {
                "headers": [column.header.ar, column.header.en]
                if look.language == "both" and column.header.ar != column.header.en
                else [in_digits(look.say(column.header), look)],
                "width": width,
                "kind": column.kind,
            }
            for column, width in zip(section.columns, widths, strict=True)
        ],
        "row_count": section.row_count,
        "row_total": show_number(section.row_count, look),
        "path": str(path),
        "totals": section.show_totals(look) if drawn is None else [],
        "notes": look.say(section.section.notes) if section.section.notes else None,
        "chart": chart if drawn is not None else None,
    }


def fit_widths(columns: Sequence[Column], look: Look, *, is_landscape: bool) -> list[float]:
    """Return the columns' widths, those widened whose header or label has a word that would be broken.

    Args:
        columns: With the widths of their definitions.
        look: Language of headers and labels.
        is_landscape: Which way the paper lies.

    Returns:
        Widths that relate to each other, not to the page.
    """
    widths = [column.width for column in columns]
    if len(columns) > _DENSE_COLUMNS:
        return widths
    page_mm = 277.0 if is_landscape else 190.0
    needed_mm = [
        _PADDING_MM.get(column.kind, 2.2) + max(_LEAST_MM.get(column.kind, 0.0), _longest_word_mm(column, look))
        for column in columns
    ]
    for _ in range(_FITTING_ROUNDS):
        unit_mm = page_mm / sum(widths)
        widths = [max(width, needed / unit_mm) for width, needed in zip(widths, needed_mm, strict=True)]
    return widths


def _longest_word_mm(column: Column, look: Look) -> float:
    texts = [look.say(words) for words in (column.header, *column.words.values())]
    return max((_measure_mm(word) for text in texts for word in text.split()), default=0.0)


def _measure_mm(word: str) -> float:
    return len(word) * (_LATIN_MM if word.isascii() else _ARABIC_MM)


def _shorten(text: str, look: Look) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}{look.say(_CUT)}"
