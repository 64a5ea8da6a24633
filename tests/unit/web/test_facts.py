from __future__ import annotations

from tests.unit.web.test_languages import ZONE

from k9ops.web.facts import describe_facts, read_moment
from k9ops.web.languages import Speech

EVIDENCE = {
    "size_bytes": 1_367_934,
    "duration_s": 0.301,
    "snapshot_at": "2026-11-26T04:12:20+00:00",
    "rows": 31_537,
    "carries_drive_tokens": False,
    "recipients": [],
    "uploads": None,
    "formats": ["pdf", "csv"],
    "drive": {"deleted": [{"id": "a"}], "sha256": "00ff"},
}


def test_evidence_reads_as_text_with_units() -> None:
    facts = describe_facts(EVIDENCE, Speech("en", ZONE))
    assert [(fact.name, fact.text) for fact in facts] == [
        ("Size", "1.4 MB"),
        ("Took", "301 ms"),
        ("Snapshot at", "26 Nov 2026, 07:12:20"),
        ("Rows", "31,537"),
        ("Carries drive tokens", "no"),
        ("Recipients", "-"),
        ("Uploads", "-"),
        ("Formats", "pdf, csv"),
        ("Drive", ""),
    ]
    deleted, digest = facts[-1].parts
    assert (digest.name, digest.text) == ("SHA-256", "00ff")
    assert (deleted.name, deleted.parts[0].name, deleted.parts[0].parts[0].text) == ("Deleted", "1", "a")


def test_evidence_reads_in_arabic() -> None:
    names = {fact.name: fact.text for fact in describe_facts(EVIDENCE, Speech("ar", ZONE))}
    assert names["الحجم"] == "1.4 ميغابايت"
    assert names["لحظة البيانات"] == "26 نوفمبر 2026، 07:12:20"
    assert names["تحوي مفاتيح Google Drive"] == "لا"


def test_only_moments_with_an_offset_are_moments() -> None:
    assert read_moment("2026-11-26T04:12:20") is None
    assert read_moment("20261126T041220Z-aebf6551") is None
    assert read_moment(5) is None
    assert read_moment("2026-11-26T04:12:20Z") is not None
