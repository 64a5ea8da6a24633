"""What jobs said about their outcome, in the reader's language: by the templates of the catalogue.

Jobs write one English sentence or several. Those that the Arabic catalogue has, with places for what varies, are told
in Arabic; a message with any other sentence stays wholly English, and the page marks it so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from babel.messages.pofile import read_po

#: Context (`msgctxt`) of the sentences in `locale/*/messages.po`.
SENTENCE = "sentence"

_LONGEST = 2000
_PLACE = re.compile(r"%\((\w+)\)s")
_END = re.compile(r"(?<=[.:]) (?=[A-Z\d])")


@dataclass(frozen=True)
class Told:
    """A message as it is shown.

    Attributes:
        text: In `language`; values in it are isolated (U+2068 to U+2069).
        language: `ar` or `en`.
        kind: What kind of error it was, in the reader's language, where the text is not in it; else empty.
    """

    text: str
    language: str
    kind: str = ""

    @property
    def direction(self) -> str:
        """In which direction it is read."""
        return "rtl" if self.language == "ar" else "ltr"


def tell(message: str, language: str, say: Callable[[str], str], write: Callable[[str], str]) -> Told:
    """Return a message in a language, in English when any part of it is not known.

    Args:
        message: As a job wrote it.
        language: `ar` or `en`.
        say: Translates a unit such as `MB`.
        write: Writes a value, such as a day, as the language does.
    """
    if language == "en" or len(message) > _LONGEST:
        return Told(message, "en")
    templates = _load_templates(language)
    parts, ends = list[str](), [*(found.start() for found in _END.finditer(message)), len(message)]
    begin = 0
    while begin < len(message):
        # The longest run of sentences that one template covers: what stands in a place may hold a full stop.
        for end in reversed([end for end in ends if end > begin]):
            told = _translate(message[begin:end], templates, say, write)
            if told is not None:
                parts.append(told)
                begin = end + 1
                break
        else:
            return Told(message, "en")
    return Told(" ".join(parts), language)


def _translate(
    sentence: str,
    templates: tuple[tuple[re.Pattern[str], str], ...],
    say: Callable[[str], str],
    write: Callable[[str], str],
) -> str | None:
    for pattern, translation in templates:
        found = pattern.fullmatch(sentence)
        if found:
            # Isolated, so that codes and numbers keep their own direction inside of Arabic.
            values = {
                name: say(value) if name.endswith("unit") else f"\u2068{write(value)}\u2069"
                for name, value in found.groupdict().items()
            }
            return translation % values if values else translation
    return None


@cache
def _load_templates(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    with (resources.files("k9ops.web") / "locale" / language / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    return tuple(
        (_compile(message.id), str(message.string))
        for message in catalogue
        if message.context == SENTENCE and isinstance(message.id, str)
    )


def _compile(template: str) -> re.Pattern[str]:
    # What stands between commas or brackets is short; a sentence inside of a place would be English in Arabic.
    pieces = _PLACE.split(template)
    text = "".join(re.escape(piece) if n % 2 == 0 else f"(?P<{piece}>[^\\s,;()]+)" for n, piece in enumerate(pieces))
    return re.compile(text)
