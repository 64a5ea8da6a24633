"""The bundled fonts, and what they can show: a report never has boxes in the place of letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont

from k9ops.errors import GlyphMissing

FONT_FOLDER = Path(__file__).parents[1] / "fonts"
FONT_FILES = ("NotoNaskhArabic-Regular.ttf", "NotoNaskhArabic-Bold.ttf", "NotoSans-Regular.ttf", "NotoSans-Bold.ttf")

# What has no picture of its own, or none that is missed: joiners, spaces, variation selectors.
_SILENT_CATEGORIES = frozenset({"Cf", "Zs", "Zl", "Zp"})
_VARIATIONS = range(0xFE00, 0xFE10)


@lru_cache(maxsize=1)
def drawable_characters() -> frozenset[str]:
    """Return every character that the regular or the Arabic font has; both weights have the same."""
    tables = []
    for name in FONT_FILES:
        with TTFont(FONT_FOLDER / name, lazy=True) as font:
            tables.append(frozenset(font.getBestCmap()))
    arabic, latin = tables[0] & tables[1], tables[2] & tables[3]
    return frozenset(map(chr, arabic | latin))


def check_glyphs(text: str, *, where: str) -> None:
    """Make sure that the fonts have every character of a text.

    Args:
        text: What is about to be set.
        where: Names the record and column, for a person.

    Raises:
        GlyphMissing: Names the character and where it stands.
    """
    for character in set(text) - drawable_characters():
        if (
            character in "\n\r\t"
            or unicodedata.category(character) in _SILENT_CATEGORIES
            or ord(character) in _VARIATIONS
        ):
            continue
        name = unicodedata.name(character, "unnamed")
        raise GlyphMissing(
            f"The character {character} (U+{ord(character):04X}, {name.lower()}) has no glyph in the report's fonts:"
            f" {where}. Change it there, or take the format xlsx.",
            character=f"U+{ord(character):04X}",
        )
