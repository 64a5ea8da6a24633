"""The plain way to a PDF: the whole report as one tagged HTML document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from weasyprint import HTML
from weasyprint.text.fonts import FontConfiguration

from k9ops.errors import ReportTooLarge
from k9ops.reports.pdf.fetcher import LockedFetcher
from k9ops.reports.pdf.fonts import FONT_FILES, FONT_FOLDER
from k9ops.reports.pdf.page import build_html, whole
from k9ops.reports.pdf.tuning import tune

_VARIANT = "pdf/ua-1"


def render_plain(document: Mapping[str, Any], output: Path) -> int:
    """Write a tagged PDF (PDF/UA-1) and return its number of pages.

    Raises:
        GlyphMissing: A character that the fonts lack.
        ReportTooLarge: It has more pages than the document allows.
    """
    laid_out = lay_out(document, build_html(document, whole(document)), pdf_variant=_VARIANT)
    pages = len(laid_out.pages)
    check_pages(document, pages)
    laid_out.write_pdf(output, pdf_identifier=document["identifier"].encode(), pdf_variant=_VARIANT)
    return pages


def lay_out(document: Mapping[str, Any], html: str, **options: Any) -> Any:
    """Return WeasyPrint's document of an HTML text, which may open the fonts and the logo only."""
    tune()
    allowed = {FONT_FOLDER / name for name in FONT_FILES}
    if document["logo"]:
        allowed.add(Path(document["logo"]))
    fetcher = LockedFetcher(frozenset(allowed))
    return HTML(string=html, url_fetcher=fetcher).render(font_config=font_configuration(), **options)


@lru_cache(maxsize=1)
def font_configuration() -> FontConfiguration:
    """Return the process's one set of fonts, so that each is loaded once."""
    return FontConfiguration()


def check_pages(document: Mapping[str, Any], pages: int) -> None:
    """Refuse a document with too many pages.

    Raises:
        ReportTooLarge: Says how many there may be.
    """
    if pages > document["max_pages"]:
        raise ReportTooLarge(
            f"The report has {pages:,} pages, more than the {document['max_pages']:,} that are allowed:"
            " choose a shorter period or the format xlsx.",
            pages=pages,
        )
