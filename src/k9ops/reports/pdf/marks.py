"""Vowel marks in a PDF's text: a word that carries one is found as one word.

pdftotext takes a sign that stands above the line for the beginning of another word or line, and tears the word. So a
raised mark says that it stands for no text (ISO 32000-1, 14.9.4, "ActualText"); what is drawn is the same. To give its
text to the letter below it would keep the mark, but Chromium then turns the letters of the whole word round.

This rests on the inside of WeasyPrint 70.0, like `tuning`, which puts it to work.
"""

from __future__ import annotations

import re
from typing import Any

from weasyprint.pdf import stream

_ONE_GLYPH = re.compile("[^<]*<([0-9a-f]{4})>")
_ARABIC_MARK = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u08d3-\u08ff]+")


def keep_words_whole() -> None:
    """Replace how WeasyPrint's streams write a glyph that is raised."""
    show_text, set_text_rise = stream.Stream.show_text, stream.Stream.set_text_rise

    def set_rise(self: Any, height: float) -> None:
        set_text_rise(self, height)
        self.is_raised = height != 0

    def show(self: Any, text: str) -> None:
        if not (getattr(self, "is_raised", False) and _is_mark(self, text)):
            show_text(self, text)
            return
        self.stream.append(b"/Span <</ActualText ()>> BDC")
        show_text(self, text)
        self.stream.append(b"EMC")

    stream.Stream.set_text_rise, stream.Stream.show_text = set_rise, show


def _is_mark(target: Any, text: str) -> bool:
    """Tell whether what is about to be written is one Arabic mark, by the font that a stream writes with."""
    found = _ONE_GLYPH.fullmatch(text)
    name = target._current_font[0]
    texts = next(font.to_unicode for font in target._fonts.values() if font.hash == name)
    return bool(found and _ARABIC_MARK.fullmatch(texts.get(int(found[1], 16), "")))
