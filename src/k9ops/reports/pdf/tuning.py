"""What WeasyPrint 70 does twice, or not well, for Arabic.

Each function replaces a part of exactly that version; any other version is left as it is. Lines are laid out and shaped
once instead of twice, what is isolated stays so in the next line, and text that is searched or copied is right beside
vowel marks.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from io import BytesIO
from math import inf
from typing import Any

import weasyprint
from fontTools.ttLib import TTFont
from weasyprint.formatting_structure import boxes
from weasyprint.layout import inline
from weasyprint.pdf import fonts
from weasyprint.text import line_break

from k9ops.reports.pdf.isolation import find_open_marks
from k9ops.reports.pdf.marks import keep_words_whole

TESTED_VERSION = "70.0"

_GLYPH_NAME = re.compile(r"uni([0-9A-F]{4})(?:\.|$)")


def is_known_version() -> bool:
    """Tell whether WeasyPrint is the version whose inside is known."""
    return bool(weasyprint.__version__ == TESTED_VERSION)


@lru_cache(maxsize=1)
def tune() -> None:
    """Replace what can be replaced; once for the process."""
    if is_known_version():
        _lay_lines_out_once()
        _keep_shaped_text()
        _keep_isolation_over_lines()
        _name_glyphs_by_letter()
        keep_words_whole()


def _lay_lines_out_once() -> None:
    """Accept the first place of a line where there is no float that it could collide with.

    In a block that runs from right to left WeasyPrint compares a line's end with a bound that it never meets, and lays
    every line out again. A candidate without end passes the comparison.
    """
    original = inline.avoid_collisions

    def avoid_collisions(context: Any, box: Any, containing_block: Any, outer: bool = True) -> Any:
        found = original(context, box, containing_block, outer)
        if not outer and box.height == 0 and type(box) is boxes.LineBox and not context.excluded_shapes:
            box.height = inf
        return found

    inline.avoid_collisions = avoid_collisions


def _keep_shaped_text() -> None:
    """Keep each text's shape from layout until it is drawn, instead of shaping it again."""
    layout = line_break.Layout
    reactivate = layout.reactivate

    def deactivate(self: Any) -> None:
        return None

    def reactivate_if_gone(self: Any, style: Any) -> None:
        if self.justification_spacing or not hasattr(self, "layout"):
            reactivate(self, style)

    layout.deactivate = deactivate
    layout.reactivate = reactivate_if_gone


def _keep_isolation_over_lines() -> None:
    """Open again, in each line, the isolated pieces that the line before leaves open.

    WeasyPrint shapes what is left of a text as if it began there: a bracket or full stop at the end of a piece that is
    broken over two lines would stand at its wrong end.
    """
    original = inline.split_text_box

    def split_text_box(context: Any, box: Any, available_width: Any, skip: int, *others: Any, **options: Any) -> Any:
        opened = find_open_marks(box.text.encode()[:skip].decode()).encode() if skip else b""
        if not opened:
            return original(context, box, available_width, skip, *others, **options)
        rest = box.copy_with_text((opened + box.text.encode()[skip:]).decode())
        line, resume, is_preserved = original(context, rest, available_width, 0, *others, **options)
        return line, None if resume is None else resume + skip - len(opened), is_preserved

    inline.split_text_box = split_text_box


def _name_glyphs_by_letter() -> None:
    """Take the letter of an Arabic glyph from the font, not from the first text in which it was met.

    Where a letter has a vowel mark, the mark's glyph would stand for both and the letter's for nothing, in all of the
    document.
    """
    original = fonts.Font.__init__

    def initialise(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.to_unicode = _Letters(_read_letters(self.file_content))

    fonts.Font.__init__ = initialise


class _Letters(dict[int, str]):
    """Texts by glyph; those of glyphs whose letter is known are that letter."""

    def __init__(self, known: dict[int, str]) -> None:
        super().__init__()
        self._known = known

    def __setitem__(self, glyph: int, text: str) -> None:
        super().__setitem__(glyph, self._known.get(glyph, text))


@lru_cache(maxsize=16)
def _read_letters(content: bytes) -> dict[int, str]:
    """Return the Arabic letters and marks of a font by glyph, from the glyphs' names; ligatures are left out."""
    with TTFont(BytesIO(content), lazy=True) as font:
        names = font.getGlyphOrder()
    found = {}
    for glyph, name in enumerate(names):
        match = _GLYPH_NAME.match(name)
        letter = unicodedata.normalize("NFKC", chr(int(match[1], 16))) if match else ""
        if len(letter) == 1 and unicodedata.category(letter) in ("Lo", "Mn") and "\u0600" <= letter <= "\u08ff":
            found[glyph] = letter
    return found
