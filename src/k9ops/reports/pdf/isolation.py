"""Keeping what runs the other way together: Latin names, codes and numbers inside Arabic, and Arabic inside English.

By the rules of Unicode alone, `2291/A` beside an Arabic word is shown as `A/2291`. Each such piece is isolated, by the
characters that Unicode has for it (UAX 9, 2.5): they stay in the text wherever a line is broken, and cost no box.
"""

from __future__ import annotations

import re

LTR, RTL, END = "\u2066", "\u2067", "\u2069"
_LTR_MARK = "\u200e"

_ARABIC = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"
_HAS_ARABIC = re.compile(f"[{_ARABIC}]")
_FIRST_STRONG = re.compile(
    "([\u0621-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc])|([^\\W\\d_])"
)

# From the first sign or letter to the last one, with whatever stands between that is neither Arabic nor a line's end;
# or a date, a time or the like in Arabic digits.
_WORD = rf"[^\W_{_ARABIC}]"
_SIGN = r"[+\-#$€£@~=±]"
_LTR_PIECE = re.compile(
    rf"{_SIGN}*{_WORD}(?:[^{_ARABIC}\n]*{_WORD})?[%°+#*]*|[\u0660-\u0669]+(?:[-:/. ][\u0660-\u0669]+)+"
)
_RTL_PIECE = re.compile(rf"[{_ARABIC}](?:[^A-Za-z\u00c0-\u024f\n]*[{_ARABIC}])?")
# By the rules, what stands between two numbers of Arabic digits runs from right to left, unless it is `:`, `/` or `.`.
_BETWEEN_ARABIC_DIGITS = re.compile("(?<=[\u0660-\u0669])[- ](?=[\u0660-\u0669])")
_PAIRS = {"(": ")", "[": "]", "{": "}", "«": "»"}


def isolate(text: str, *, is_rtl: bool) -> str:
    """Return a text with each piece of the other direction isolated.

    A text that begins with Arabic is Arabic as a whole, numbers and full stop included, also on an English page.

    Args:
        text: Logical order, without controls of direction.
        is_rtl: Direction of what stands around it.

    Example:
        >>> isolate("تقرير 2291/A", is_rtl=True)
        'تقرير \\u20662291/A\\u2069'
    """
    if "\n" in text:
        return "\n".join(isolate(line, is_rtl=is_rtl) for line in text.split("\n"))
    if not text or not _HAS_ARABIC.search(text):
        return f"{LTR}{text}{END}" if text and is_rtl else text
    if is_rtl:
        return _isolate_pieces(text, _LTR_PIECE, LTR)
    first = _FIRST_STRONG.search(text)
    if first is None or first[1]:
        return f"{RTL}{_isolate_pieces(text, _LTR_PIECE, LTR)}{END}"
    return _isolate_pieces(text, _RTL_PIECE, RTL)


def find_open_marks(text: str) -> str:
    """Return the marks of the pieces that a text leaves open, as the next line has to begin with them."""
    opened: list[str] = []
    for sign in text:
        if sign in (LTR, RTL):
            opened.append(sign)
        elif sign == END and opened:
            opened.pop()
    return "".join(opened)


def _isolate_pieces(text: str, pattern: re.Pattern[str], mark: str) -> str:
    parts, end = [], 0
    while (match := pattern.search(text, end)) is not None:
        start, stop = match.start(), match.start() + _balanced_length(match[0])
        if end < start and text[stop : stop + 1] and _PAIRS.get(text[start - 1]) == text[stop]:
            start, stop = start - 1, stop + 1
        piece = text[start:stop]
        if mark == LTR:
            piece = _BETWEEN_ARABIC_DIGITS.sub(rf"\g<0>{_LTR_MARK}", piece)
        parts += [text[end:start], mark, piece, END]
        end = stop
    return "".join([*parts, text[end:]])


def _balanced_length(piece: str) -> int:
    """Return how much of a piece to take, so that no bracket stays alone inside it."""
    opened: list[tuple[int, str]] = []
    for position, sign in enumerate(piece):
        if sign in _PAIRS:
            opened.append((position, _PAIRS[sign]))
        elif sign in _PAIRS.values():
            if not opened or opened[-1][1] != sign:
                return max(1, len(piece[:position].rstrip()))
            opened.pop()
    return len(piece) if not opened else max(1, len(piece[: opened[0][0]].rstrip()))
