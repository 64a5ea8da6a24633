"""Manifest and state as files: what was written is read again, anything else is damage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backups.making import make_manifest

from k9ops.backups.manifest import BackupState, Verification, decode_manifest, decode_state, encode
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
        (b'{"manifest_version": 2}', "of version 2"),
        (b'{"manifest_version": 1}', "wrong or missing values"),
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
