"""Arabic and English: every text through gettext, dates and numbers as each language writes them."""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations

from k9ops.web.faults import name_kind
from k9ops.web.sentences import Told, tell

LANGUAGES = {"ar": "العربية", "en": "English"}

# Latin digits also in Arabic, as in the application's own pages.
_LOCALES = {"ar": "ar_SA", "en": "en_GB"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_COUNT = re.compile(r"[1-9]\d{3,6}", re.ASCII)


@cache
def load_translations(language: str) -> NullTranslations:
    """Return the texts of a language; English ones stand in the source."""
    catalogue = resources.files("k9ops.web") / "locale" / language / "messages.po"
    if language == "en" or not catalogue.is_file():
        return NullTranslations()
    compiled = io.BytesIO()
    with catalogue.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


class Speech:
    """How a person is spoken to.

    Args:
        language: `ar` or `en`.
        zone: The unit's time zone.
    """

    def __init__(self, language: str, zone: ZoneInfo) -> None:
        self.language = language
        self.zone = zone
        self.direction = "rtl" if language == "ar" else "ltr"
        self.translations = load_translations(language)
        self._locale = Locale.parse(_LOCALES[language])

    def say(self, text: str, /, **values: object) -> str:
        """Return a text in this language, with values in its places."""
        said = str(self.translations.gettext(text))
        return said % values if values else said

    def tell(self, message: str | None, error_class: str | None = None) -> Told:
        """Return what a job said, in this language where the catalogue knows its sentences.

        Args:
            message: What it said.
            error_class: Of the error that said it; where the message stays English, its kind is told beside it.
        """
        told = tell(message or "", self.language, self.say, self._write_in_sentence)
        if error_class and told.language != self.language:
            return replace(told, kind=self.say(name_kind(error_class, told.text)))
        return told

    def is_own(self, text: str) -> bool:
        """Tell whether a text is in this language already, by its first letter."""
        first = next((letter for letter in text if letter.isalpha()), "")
        return (unicodedata.bidirectional(first) == "AL") == (self.language == "ar") if first else True

    def moment(self, moment: datetime | None) -> str:
        """Return a date and time in the unit's time zone."""
        if moment is None:
            return "-"
        local = moment.astimezone(self.zone)
        comma = "،" if self.language == "ar" else ","
        return format_datetime(local, f"d MMM y{comma} HH:mm:ss", tzinfo=self.zone, locale=self._locale)

    def day(self, day: date) -> str:
        """Return a date."""
        return format_date(day, "d MMM y", locale=self._locale)

    def since(self, moment: datetime | None, now: datetime) -> str:
        """Return how long ago, or in how long, a moment is."""
        if moment is None:
            return "-"
        return format_timedelta(moment - now, add_direction=True, threshold=1.2, locale=self._locale)

    def duration(self, duration_s: float | None) -> str:
        """Return a duration, e.g. `2 min`."""
        if duration_s is None:
            return "-"
        if duration_s < 1:
            return f"{self.number(round(duration_s * 1000))} {self.say('ms')}"
        if duration_s < 60:
            return f"{self.number(round(duration_s, 1))} {self.say('s')}"
        minutes, seconds = divmod(round(duration_s), 60)
        hours, minutes = divmod(minutes, 60)
        units = ((hours, "h"), (minutes, "min"), (seconds if not hours else 0, "s"))
        return " ".join(f"{self.number(value)} {self.say(unit)}" for value, unit in units if value)

    def number(self, value: float) -> str:
        """Return a number with its separators."""
        return format_decimal(value, locale=self._locale, numbering_system="latn")

    def write(self, value: str) -> str:
        """Return a value, a day as this language writes it."""
        if _DAY.fullmatch(value):
            with contextlib.suppress(ValueError):
                return self.day(date.fromisoformat(value))
        return value

    def _write_in_sentence(self, value: str) -> str:
        return self.number(int(value)) if _COUNT.fullmatch(value) else self.write(value)

    def size(self, size_bytes: float) -> str:
        """Return a size in powers of 1000."""
        for unit in ("B", "kB", "MB", "GB"):
            if size_bytes < 1000:
                return f"{self.number(round(size_bytes, 1))} {self.say(unit)}"
            size_bytes /= 1000
        return f"{self.number(round(size_bytes, 1))} {self.say('TB')}"
