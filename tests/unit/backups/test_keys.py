"""Private keys: read as age-keygen writes them, refused with a reason, and in no text form."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest
from tests.unit.backups.making import make_manifest

from k9ops.backups.drills import find_drill, read_drills, record_drill
from k9ops.backups.keys import find_keys_of, make_one_off_key, read_key_file, read_keys
from k9ops.backups.manifest import Manifest
from k9ops.config.settings import Settings
from k9ops.errors import KeyUnsuitable

IDENTITY = pyrage.x25519.Identity.generate()
SECRET, PUBLIC = str(IDENTITY), str(IDENTITY.to_public())


def encrypted_to(*recipients: str) -> Manifest:
    encryption = {"recipients": recipients, "plain_sha256": "1" * 64, "plain_size_bytes": 3}
    return make_manifest(manifest_version=2, encryption=encryption)


def test_read_keys_reads_a_file_of_age_keygen() -> None:
    other = pyrage.x25519.Identity.generate()
    keys = read_keys(f"# created: 2026-03-01T02:00:00Z\n# public key: {PUBLIC}\n{SECRET}\r\n\n  {other}\n")
    assert keys.public_keys == (PUBLIC, str(other.to_public()))
    assert keys.kind == "private_key"
    assert "SECRET" not in f"{keys!r} {keys}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There is no private key"),
        ("# nothing\n", "There is no private key"),
        (f"# x\n{SECRET[:-1]}\n", "Line 2 is no private key"),
        (f"{SECRET}hunter2", "Line 1 is no private key"),
        (PUBLIC, "Line 1 is no private key"),
        ("age-encryption.org/v1\n-> scrypt", "protected with a passphrase"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "protected with a passphrase"),
    ],
    ids=["empty", "comment", "cut", "longer", "public", "passphrase", "armoured"],
)
def test_read_keys_says_what_is_wrong_and_repeats_nothing(text: str, words: str) -> None:
    with pytest.raises(KeyUnsuitable, match=words) as caught:
        read_keys(text)
    shown = f"{caught.value} {caught.value.detail} {caught.value.__cause__} {caught.value.__context__}"
    assert "AGE-SECRET-KEY-1…" in shown or "passphrase" in shown
    assert SECRET[:30] not in shown
    assert "hunter2" not in shown


def test_read_key_file_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(KeyUnsuitable, match="cannot be read: No such file"):
        read_key_file(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyUnsuitable, match="not text"):
        read_key_file(tmp_path / "binary")


def test_find_keys_of_takes_the_given_keys_before_those_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET)
    settings, one_off = Settings(backup_identity_file=file), make_one_off_key()
    assert find_keys_of(settings, make_manifest(), None) is None
    found = find_keys_of(settings, encrypted_to(PUBLIC), None)
    assert found is not None
    assert found.public_keys == (PUBLIC,)
    assert find_keys_of(settings, encrypted_to(PUBLIC, *one_off.public_keys), one_off) is one_off
    assert find_keys_of(settings, encrypted_to(*one_off.public_keys), None) is None
    with pytest.raises(
        KeyUnsuitable, match=f"belongs to {one_off.public_keys[0]}; the backup is encrypted to {PUBLIC}"
    ):
        find_keys_of(settings, encrypted_to(PUBLIC), one_off)


def test_drills_are_kept_for_each_public_key(tmp_path: Path) -> None:
    assert find_drill(tmp_path, [PUBLIC]) is None
    record_drill(tmp_path, [PUBLIC], "first")
    record_drill(tmp_path, ["age1other"], "second")
    drill = find_drill(tmp_path, ["age1unknown", PUBLIC])
    assert drill is not None
    assert drill.backup_id == "first"
    newest = find_drill(tmp_path, [PUBLIC, "age1other"])
    assert newest is not None
    assert newest.backup_id == "second"
    (tmp_path / "drills.json").write_bytes(b"\0")
    assert read_drills(tmp_path) == {}
    assert find_drill(tmp_path, [PUBLIC]) is None
