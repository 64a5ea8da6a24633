"""Manifest and state as files: what was written is read again, anything else is damage."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backups.making import make_manifest

from k9ops.backups.manifest import BackupState, Verification, decode_manifest, decode_state, encode, fingerprint
from k9ops.errors import BackupDamaged


@given(
    tables=st.dictionaries(st.text(min_size=1), st.integers(0, 2**62), max_size=5),
    size=st.integers(0, 2**50),
    reason=st.none() | st.text(),
)
def test_decode_reads_what_encode_wrote(tables: dict[str, int], size: int, reason: str | None) -> None:
    manifest = make_manifest(tables=tables, size_bytes=size, compression="zstd-stream", uncompressed_bytes=size)
    assert decode_manifest(encode(manifest)) == manifest
    state = BackupState(verification=Verification(state="failed", reason=reason), pinned_reason=reason)
    assert decode_state(encode(state)) == state


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "no manifest_version"),
        (b"{}", "no manifest_version"),
        (b'{"manifest_version": 4}', "of version 4; this k9ops reads version 1, 2 and 3"),
        (b'{"manifest_version": 1}', "wrong or missing values"),
        (b'{"manifest_version": 3}', "wrong or missing values"),
        (b'{"manifest_version": 2}', "wrong or missing values"),
    ],
)
def test_decode_manifest_says_what_is_wrong(content: bytes, words: str) -> None:
    with pytest.raises(BackupDamaged, match=words):
        decode_manifest(content)


@pytest.mark.parametrize(
    "change", [{"sha256": "short"}, {"size_bytes": -1}, {"compression": "gzip"}, {"surprise": 1}, {"tables": None}]
)
def test_decode_manifest_refuses_wrong_values(change: dict[str, object]) -> None:
    data = json.loads(encode(make_manifest())) | change
    with pytest.raises(BackupDamaged, match=next(iter(change))):
        decode_manifest(json.dumps(data).encode())


def test_encode_keeps_arabic_readable() -> None:
    assert "public.الكلاب" in encode(make_manifest()).decode()


def test_manifest_of_a_plain_archive_keeps_its_first_form_and_fingerprint() -> None:
    """What was verified before encryption came must still count as verified."""
    manifest = make_manifest()
    document = json.loads(encode(manifest))
    assert "encryption" not in document
    assert list(document)[-1] == "k9ops_version"
    first_form = manifest.model_dump(mode="json", exclude={"encryption", "uploads", "audit"})
    text = json.dumps(first_form, ensure_ascii=False, indent=2).encode() + b"\n"
    assert fingerprint(manifest) == hashlib.sha256(text).hexdigest()


def test_manifest_of_an_encrypted_archive_is_read_again() -> None:
    encryption = {"recipients": ["age1x"], "plain_sha256": "1" * 64, "plain_size_bytes": 3}
    manifest = make_manifest(manifest_version=2, encryption=encryption)
    assert decode_manifest(encode(manifest)) == manifest
    data = json.loads(encode(manifest)) | {"manifest_version": 1}
    with pytest.raises(BackupDamaged, match="wrong or missing values"):
        decode_manifest(json.dumps(data).encode())
    for change in ({"recipients": []}, {"format": "pgp"}, {"plain_sha256": "x"}, {"key": "x"}):
        data = json.loads(encode(manifest)) | {"encryption": encryption | change}
        with pytest.raises(BackupDamaged, match="encryption"):
            decode_manifest(json.dumps(data).encode())


def test_manifest_notes_the_head_of_the_audit_chain_from_its_third_version_on() -> None:
    head = {"chain_id": "c", "last_id": 7, "hash": "a" * 64}
    manifest = make_manifest(manifest_version=3, audit=head)
    assert decode_manifest(encode(manifest)) == manifest
    for version in (1, 2):
        data = json.loads(encode(manifest)) | {"manifest_version": version}
        with pytest.raises(BackupDamaged, match="wrong or missing values"):
            decode_manifest(json.dumps(data).encode())
