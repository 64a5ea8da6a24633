from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from k9ops.reports.cells import Look, clean_text, decode, encode, say_date, say_month, show
from k9ops.reports.definition import Column
from k9ops.reports.words import YES_NO, Words

RIYADH = ZoneInfo("Asia/Riyadh")
ARABIC = Look("ar", "western", has_hijri=False, zone=RIYADH)
INDIC = Look("ar", "arabic", has_hijri=False, zone=RIYADH)
HIJRI = Look("ar", "western", has_hijri=True, zone=RIYADH)
ENGLISH = Look("en", "western", has_hijri=True, zone=RIYADH)


def column(kind: str) -> Column:
    return Column("x", Words("س", "X"), kind=kind, words=YES_NO if kind == "word" else {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value", "western", "indic"),
    [
        ("text", "Rex 7", "Rex 7", "Rex 7"),
        ("code", "K9-001", "K9-001", "K9-001"),
        ("integer", 1234567, "1,234,567", "١٬٢٣٤٬٥٦٧"),
        ("integer", 0, "0", "٠"),
        ("decimal", Decimal("1234.56"), "1,234.6", "١٬٢٣٤٫٦"),
        ("date", date(2026, 11, 24), "2026-11-24", "٢٠٢٦-١١-٢٤"),
        ("time", time(7, 5), "07:05", "٠٧:٠٥"),
        ("moment", datetime(2026, 11, 24, 22, 30), "2026-11-25 01:30", "٢٠٢٦-١١-٢٥ ٠١:٣٠"),  # noqa: DTZ001
        ("word", "yes", "نعم", "نعم"),
        ("word", "NEW_LABEL", "NEW_LABEL", "NEW_LABEL"),
        ("yes_no", False, "لا", "لا"),
        ("text", None, "", ""),
    ],
)
def test_a_value_is_kept_decoded_and_shown(kind: str, value: object, western: str, indic: str) -> None:
    decoded = decode(column(kind), encode(value))
    assert show(column(kind), decoded, ARABIC) == western
    assert show(column(kind), decoded, INDIC) == indic


def test_dates_are_said_with_names_and_the_hijri_date_where_wanted() -> None:
    day = date(2026, 11, 24)
    assert say_date(day, ARABIC) == "الثلاثاء 24 نوفمبر 2026"
    assert say_date(day, HIJRI) == "الثلاثاء 24 نوفمبر 2026 (14 جمادى الآخرة 1448 هـ)"
    assert say_date(day, ENGLISH) == "Tuesday 24 November 2026 (14 Jumada al-Akhirah 1448 AH)"
    assert say_month(day, INDIC) == "نوفمبر ٢٠٢٦"
    assert show(column("date"), day, HIJRI) == "2026-11-24 (1448-06-14)"
    assert show(column("date"), date(1900, 1, 1), HIJRI) == "1900-01-01"


def test_clean_text_removes_what_cannot_be_printed() -> None:
    assert clean_text("a\x00b\u202ec\u2066d\u200fe\ufeff\tf\r\ng ") == "abcde f\ng"
    assert clean_text("\ud800x") == "\ufffdx"
    assert clean_text("ا\u0653") == "آ"
