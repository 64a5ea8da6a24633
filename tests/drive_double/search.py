"""Drive's query language, as far as k9ops writes it; anything else is refused as Drive does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TEXT = r"'((?:[^'\\]|\\.)*)'"
_TERM = re.compile(
    rf"\s*(name\s*=\s*{_TEXT}|mimeType\s*!?=\s*{_TEXT}|trashed\s*=\s*(?:true|false)|{_TEXT}\s+in\s+parents"
    rf"|appProperties\s+has\s*\{{\s*key={_TEXT}\s+and\s+value={_TEXT}\s*\}})\s*(?:and\s+|$)"
)
_Test = Callable[[dict[str, Any], bool], bool]


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def parse_query(query: str) -> list[_Test]:
    """Return a test of a file's metadata, and of whether it is in the trash, for each term.

    Raises:
        ValueError: It is not of this language.
    """
    terms: list[_Test] = []
    position = 0
    while position < len(query):
        match = _TERM.match(query, position)
        if match is None:
            raise ValueError(query[position:])
        terms.append(_parse_term(match[1]))
        position = match.end()
    return terms


def _parse_term(term: str) -> _Test:
    words = [_unquote(text) for text in re.findall(_TEXT, term)]
    if term.startswith("name"):
        return lambda meta, _: bool(meta["name"] == words[0])
    if term.startswith("mimeType"):
        is_equal = "!" not in term
        return lambda meta, _: (meta["mimeType"] == words[0]) == is_equal
    if term.startswith("trashed"):
        wanted = term.endswith("true")
        return lambda _, is_trashed: is_trashed == wanted
    if term.startswith("appProperties"):
        return lambda meta, _: bool(meta["appProperties"].get(words[0]) == words[1])
    return lambda meta, _: words[0] in meta["parents"]
