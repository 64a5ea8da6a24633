"""Keeping what runs the other way together: Latin names, codes and numbers inside Arabic, and Arabic inside English.

By the rules of Unicode alone, `2291/A` beside an Arabic word is shown as `A/2291`. Each such piece gets a
`bdi` of its own.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_ARABIC = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"
_HAS_ARABIC = re.compile(f"[{_ARABIC}]")
_IS_RTL = re.compile("[\u0621-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc]")

# From the first sign or letter to the last one, with whatever stands between that is neither Arabic nor a line's end.
_WORD = rf"[^\W_{_ARABIC}]"
_SIGN = r"[+\-#$€£@~=±]"
_LTR_PIECE = re.compile(rf"{_SIGN}*{_WORD}(?:[^{_ARABIC}\n]*{_WORD})?[%°+#*]*", re.UNICODE)
# Arabic digits alone are read from left to right too; a piece begins and ends with a letter, mark or digit.
_RTL_PIECE = re.compile(rf"[{_ARABIC}](?:[^A-Za-z\u00c0-\u024f\n]*[{_ARABIC}])?")
_PAIRS = {"(": ")", "[": "]", "{": "}", "«": "»"}


def isolate(text: str, *, is_rtl: bool) -> Markup:
    """Return a text as HTML, escaped, with each piece of the other direction isolated.

    Args:
        text: Logical order, without controls of direction.
        is_rtl: Direction of what stands around it.

    Example:
        >>> isolate("تقرير 2291/A", is_rtl=True)
        Markup('تقرير <bdi dir=ltr>2291/A</bdi>')
    """
    has_arabic = bool(_HAS_ARABIC.search(text))
    if is_rtl and not has_arabic:
        return _isolated(text, "ltr") if text else Markup()
    if not is_rtl and not has_arabic:
        return escape(text)
    pattern, direction = (_LTR_PIECE, "ltr") if is_rtl else (_RTL_PIECE, "rtl")
    parts, end = [], 0
    while (match := pattern.search(text, end)) is not None:
        start, stop = match.start(), match.start() + _balanced_length(match[0])
        if end < start and text[stop : stop + 1] and _PAIRS.get(text[start - 1]) == text[stop]:
            start, stop = start - 1, stop + 1
        parts += [escape(text[end:start]), _isolated(text[start:stop], direction)]
        end = stop
    return Markup("").join([*parts, escape(text[end:])])


def is_rtl_text(text: str) -> bool:
    """Tell whether a text has a letter that is written from right to left."""
    return bool(_IS_RTL.search(text))


def _isolated(text: str, direction: str) -> Markup:
    return Markup("<bdi dir={}>{}</bdi>").format(Markup(direction), text)  # noqa: S704 - one of two constants


def _balanced_length(piece: str) -> int:
    """Return how much of a piece to take, so that no bracket stays alone inside it."""
    opened: list[tuple[int, str]] = []
    for position, sign in enumerate(piece):
        if sign in _PAIRS:
            opened.append((position, _PAIRS[sign]))
        elif sign in _PAIRS.values():
            if not opened or opened[-1][1] != sign:
                return len(piece[:position].rstrip())
            opened.pop()
    return len(piece) if not opened else max(1, len(piece[: opened[0][0]].rstrip()))
