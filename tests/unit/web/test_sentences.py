from __future__ import annotations

import re

import pytest
from babel.messages.pofile import read_po
from tests.unit.web.test_languages import WEB, ZONE

from k9ops.web.languages import Speech
from k9ops.web.sentences import SENTENCE

ARABIC = Speech("ar", ZONE)


def plain(text: str) -> str:
    return text.replace("\u2068", "").replace("\u2069", "")


@pytest.mark.parametrize(
    ("english", "arabic"),
    [
        (
            "34 schedules from 2026-06-15 to 2026-11-25 are locked.",
            "الجداول المقفلة: 34، من 2026-06-15 إلى 2026-11-25.",
        ),
        (
            "Backup 20261126T041220Z-aebf6551: 1.4 MB, 31537 rows of 40 tables.",
            "النسخة 20261126T041220Z-aebf6551: الحجم 1.4 ميغابايت، الصفوف 31537، الجداول 40.",
        ),
        (
            (
                "Backup 20261126T041220Z-aebf6551 was restored: 31537 rows of 40 tables are as in its manifest."
                " All 12 files of the uploads folder are in it."
            ),
            (
                "استُعيدت النسخة 20261126T041220Z-aebf6551، وطابقت بيانها: الصفوف 31537، الجداول 40."
                " وفيها كل ملفات مجلد المرفقات: 12."
            ),
        ),
        ("There is no backup 20260101T000000Z-00000000.", "لا توجد نسخة احتياطية 20260101T000000Z-00000000."),
        ("No read notification is old enough.", "لا توجد إشعارات مقروءة قديمة بما يكفي."),
    ],
)
def test_outcome_is_told_in_arabic(english: str, arabic: str) -> None:
    told = ARABIC.tell(english)
    assert (plain(told.text), told.language, told.direction) == (arabic, "ar", "rtl")
    assert Speech("en", ZONE).tell(english).text == english


@pytest.mark.parametrize(
    "message",
    [
        "No space left on device.",
        "There is no backup 20260101T000000Z-00000000. Somebody deleted it.",
        "Somebody deleted it. There is no backup 20260101T000000Z-00000000.",
        "Backup x could not be verified: No read notification is old enough.",
        "100 % of %(disk)s %s",
        ". . .",
    ],
)
def test_message_with_an_unknown_sentence_stays_english_as_a_whole(message: str) -> None:
    told = ARABIC.tell(message)
    assert (told.text, told.language, told.direction) == (message, "en", "ltr")


def test_every_sentence_keeps_its_places_and_finds_itself() -> None:
    with (WEB / "locale/ar/messages.po").open("rb") as file:
        catalogue = [item for item in read_po(file, locale="ar") if item.context == SENTENCE]
    assert len(catalogue) > 20
    for item in catalogue:
        places = re.findall(r"%\((\w+)\)s", str(item.id))
        assert sorted(places) == sorted(set(re.findall(r"%\((\w+)\)s", str(item.string)))), item.id
        values = {name: f"v{number}" for number, name in enumerate(places)}
        said = str(item.id) % values if values else str(item.id)
        assert plain(ARABIC.tell(said).text) == (str(item.string) % values if values else str(item.string))


def test_long_message_is_judged_quickly() -> None:
    assert ARABIC.tell("A sentence. " * 200).language == "en"
