"""A value from the database to a person's eye: kept as JSON, decoded to its type, shown as text."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from hijridate import Gregorian

from k9ops.reports.definition import Column
from k9ops.reports.words import YES_NO, Language, Words

Digits = Literal["western", "arabic"]

NOTHING = "—"
ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")

_SEPARATORS = str.maketrans(",.", "\u066c\u066b")
# Controls of direction that came with the data would reorder what stands around them; the report sets its own.
_UNWANTED = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_HIJRI_FIRST, _HIJRI_LAST = date(1924, 8, 1), date(2077, 11, 16)

_MONTHS_AR = (
    *("يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو"),
    *("يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"),
)
_MONTHS_EN = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS_AR = ("الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت", "الأحد")
_DAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Look:
    """How a report shows its values.

    Attributes:
        language: Of words, headers and names of days and months.
        digits: Of numbers, dates and times; codes and texts keep theirs.
        has_hijri: Whether the Hijri date stands beside the Gregorian one.
        zone: The unit's time zone.
    """

    language: Language
    digits: Digits
    has_hijri: bool
    zone: ZoneInfo

    @property
    def is_rtl(self) -> bool:
        """Whether the page runs from right to left."""
        return self.language != "en"

    @property
    def first_language(self) -> Literal["ar", "en"]:
        """The language of what is said once."""
        return "en" if self.language == "en" else "ar"

    def say(self, words: Words) -> str:
        """Return an expression in the report's language."""
        return words.say(self.language)


def clean_text(text: str) -> str:
    """Return a text without what cannot be printed: controls become spaces, controls of direction go."""
    text = _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    return unicodedata.normalize("NFC", _UNWANTED.sub("", text)).strip()


def encode(value: Any) -> Any:
    """Return a value as JSON keeps it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, str):
        return clean_text(value)
    return clean_text(json.dumps(value, ensure_ascii=False, default=str))


def decode(column: Column, value: Any) -> Any:
    """Return a kept value as its column's type: a moment becomes aware UTC."""
    if not isinstance(value, str):
        return value
    if column.kind == "date":
        return date.fromisoformat(value[:10])
    if column.kind == "time":
        return time.fromisoformat(value)
    if column.kind == "moment":
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


def show(column: Column, value: Any, look: Look) -> str:
    """Return a decoded value as text; `""` for None."""
    if value is None or value == "":
        return ""
    if column.kind == "word":
        words = column.words.get(str(value))
        return look.say(words) if words else str(value)
    if column.kind == "yes_no":
        return look.say(YES_NO["yes" if value else "no"])
    if column.kind == "date" and isinstance(value, date):
        return show_date(value, look)
    if column.kind == "time" and isinstance(value, time):
        return in_digits(f"{value:%H:%M}", look)
    if column.kind == "moment" and isinstance(value, datetime):
        local = value.astimezone(look.zone)
        return f"{show_date(local.date(), look)} {in_digits(f'{local:%H:%M}', look)}"
    if column.kind in ("integer", "decimal") and isinstance(value, int | float):
        return show_number(value, look, is_decimal=column.kind == "decimal")
    return str(value)


def show_number(value: float, look: Look, *, is_decimal: bool = False) -> str:
    """Return a number with separators of thousands, in the report's digits."""
    text = f"{value:,.1f}" if is_decimal else f"{value:,.0f}"
    return in_digits(text.translate(_SEPARATORS) if look.digits == "arabic" else text, look)


def show_date(day: date, look: Look) -> str:
    """Return a date in numbers, the Hijri one behind it where that is wanted."""
    text = day.isoformat()
    if look.has_hijri and _HIJRI_FIRST <= day <= _HIJRI_LAST:
        text = f"{text} ({Gregorian.fromdate(day).to_hijri().isoformat()})"
    return in_digits(text, look)


def say_date(day: date, look: Look) -> str:
    """Return a date in words: day of the week, day, month, year, and the Hijri one where that is wanted."""
    if look.first_language == "en":
        text = f"{_DAYS_EN[day.weekday()]} {day.day} {_MONTHS_EN[day.month - 1]} {day.year}"
    else:
        text = f"{_DAYS_AR[day.weekday()]} {day.day} {_MONTHS_AR[day.month - 1]} {day.year}"
    if look.has_hijri and _HIJRI_FIRST <= day <= _HIJRI_LAST:
        hijri = Gregorian.fromdate(day).to_hijri()
        name, era = hijri.month_name(look.first_language), "هـ" if look.first_language == "ar" else "AH"
        text = f"{text} ({hijri.day} {name} {hijri.year} {era})"
    return in_digits(text, look)


def say_month(first: date, look: Look) -> str:
    """Return a month in words."""
    names = _MONTHS_EN if look.first_language == "en" else _MONTHS_AR
    return in_digits(f"{names[first.month - 1]} {first.year}", look)


def in_digits(text: str, look: Look) -> str:
    """Return a text of numbers in the digits that the report uses."""
    return text.translate(ARABIC_DIGITS) if look.digits == "arabic" else text
