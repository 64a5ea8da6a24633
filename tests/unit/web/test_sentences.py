from __future__ import annotations

import re

import pytest
from babel.messages.pofile import read_po
from tests.unit.web.test_languages import WEB, ZONE

from k9ops import errors
from k9ops.web.faults import KINDS
from k9ops.web.languages import Speech
from k9ops.web.sentences import SENTENCE
from k9ops.web.visit import isolate_values

ARABIC = Speech("ar", ZONE)


def plain(text: str) -> str:
    return text.replace("\u2068", "").replace("\u2069", "")


@pytest.mark.parametrize(
    ("english", "arabic"),
    [
        (
            "34 schedules from 2026-06-15 to 2026-11-25 are locked.",
            "الجداول المقفلة: 34، من 15 يونيو 2026 إلى 25 نوفمبر 2026.",
        ),
        (
            "Backup 20261126T041220Z-aebf6551: 1.4 MB, 31537 rows of 40 tables.",
            "النسخة 20261126T041220Z-aebf6551: الحجم 1.4 ميغابايت، الصفوف 31,537، الجداول 40.",
        ),
        (
            (
                "Backup 20261126T041220Z-aebf6551 was restored: 31537 rows of 40 tables are as in its manifest."
                " All 12 files of the uploads folder are in it."
            ),
            (
                "استُعيدت النسخة 20261126T041220Z-aebf6551، وطابقت بيانها: الصفوف 31,537، الجداول 40."
                " وفيها كل ملفات مجلد المرفقات: 12."
            ),
        ),
        ("There is no backup 20260101T000000Z-00000000.", "لا توجد نسخة احتياطية 20260101T000000Z-00000000."),
        ("No read notification is old enough.", "لا توجد إشعارات مقروءة قديمة بما يكفي."),
        (
            "create_backup was due at 2026-11-24 02:00 and has not started.",
            "كان موعد create_backup في 24 نوفمبر 2026 02:00 ولم تبدأ.",
        ),
        (
            "lock_schedules has been running for 45 minutes; usually it takes 3 seconds.",
            "تعمل lock_schedules منذ 45 دقيقة، والمعتاد 3 ثانية.",
        ),
        (
            "create_backup failed: No read notification is old enough.",
            "فشلت create_backup: لا توجد إشعارات مقروءة قديمة بما يكفي.",
        ),
    ],
)
def test_outcome_is_told_in_arabic(english: str, arabic: str) -> None:
    told = ARABIC.tell(english)
    assert (plain(told.text), told.language, told.direction) == (arabic, "ar", "rtl")
    assert Speech("en", ZONE).tell(english).text == english


@pytest.mark.parametrize(
    ("message", "error_class", "arabic"),
    [
        ("Cancelled by سالم.", None, "ألغاها سالم."),
        ("Google Drive has a fault of its own (HTTP 503).", "DriveUnavailable", "خلل في Google Drive نفسه ‏(HTTP 503)."),
        (
            "The backup needs 1.2 GB in its folder (with the room to be left); 300.0 MB are free.",
            "DiskFull",
            "تحتاج النسخة إلى 1.2 غيغابايت في مجلدها مع المساحة الواجب تركها، والمتاح 300.0 ميغابايت.",
        ),
        (
            "It had not started by 2026-11-26 08:00:00 UTC, the latest moment that its job allows.",
            None,
            "لم تبدأ قبل 26 نوفمبر 2026 08:00:00 ‏(UTC)، وهو آخر وقت تسمح به المهمة.",
        ),
        (
            "The run took longer than its hard time limit. It did not stop, and its process was ended.",
            "TimeLimitExceeded",
            "تجاوزت العملية مهلتها القصوى. ولم تتوقف، فأُنهي برنامجها.",
        ),
    ],
)
def test_known_error_is_told_in_arabic_alone(message: str, error_class: str | None, arabic: str) -> None:
    told = ARABIC.tell(message, error_class)
    assert (plain(told.text), told.kind) == (arabic, "")


@pytest.mark.parametrize(
    ("message", "error_class", "kind"),
    [
        ("PostgreSQL is not available: the server closed the connection.", "DatabaseUnavailable", "قاعدة البيانات"),
        ("OperationalError: (psycopg.OperationalError) terminating connection", "OperationalError", "قاعدة البيانات"),
        ("Redis refuses.", "BrokerUnavailable", "وسيط الرسائل"),
        ("Google Drive forgets every upload that is begun.", "DriveUnavailable", "Google Drive"),
        ("OSError: [Errno 28] No space left on device", "OSError", "القرص"),
        ("could not extend file: No space left on device", "OperationalError", "القرص"),
        ("It took too long.", "TimeLimitExceeded", "المهلة"),
        ("MemoryError: ", "MemoryError", "الذاكرة"),
        ("K9OPS_X = 3: must be 4.", "SettingsInvalid", "الإعدادات"),
        ("ZeroDivisionError: division by zero", "ZeroDivisionError", "خطأ في البرنامج"),
        ("ZeroDivisionError: [Errno 28]", "ZeroDivisionError", "القرص"),
    ],
)
def test_unknown_error_has_its_kind_in_arabic_beside_the_original(message: str, error_class: str, kind: str) -> None:
    told = ARABIC.tell(message, error_class)
    assert (told.text, told.language, told.direction) == (message, "en", "ltr")
    assert kind in told.kind
    assert Speech("en", ZONE).tell(message, error_class).kind == ""
    assert ARABIC.tell(message).kind == ""


def test_every_error_of_the_tree_has_a_kind() -> None:
    tree = {name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, Exception)}
    assert tree - set(KINDS) == {"K9opsError", "TransientError", "PermanentError"}


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("a \u20682026-x\u2069 b", 'a <bdi class="whole" dir="ltr">2026-x</bdi> b'),
        ("\u2068سليم علي\u2069", "<bdi>سليم علي</bdi>"),
        ("\u2068" + "x" * 31 + "\u2069", f'<bdi dir="ltr">{"x" * 31}</bdi>'),
        ("cut \u2068off…", 'cut <bdi class="whole" dir="ltr">off…</bdi>'),
        ("\u2068<b>\u2069 & <i>", '<bdi class="whole" dir="ltr">&lt;b&gt;</bdi> &amp; &lt;i&gt;'),
    ],
)
def test_values_are_elements_of_their_own(text: str, markup: str) -> None:
    assert str(isolate_values(text)) == markup


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
