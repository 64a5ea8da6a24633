"""Encrypted backups on real servers: who can open them, what is proven without a key, and what is never written."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
import zstandard
from tests.integration.backups.conftest import EXPECTED_ROWS, Source, make_source
from tests.integration.backups.test_restore import database_of, fresh_id, new_name
from tests.integration.backups.test_verify import rewrite_manifest

from k9ops.backups.catalogue import Backup, files_of, list_backups, load_backup
from k9ops.backups.create import create_backup
from k9ops.backups.drills import read_drills
from k9ops.backups.encryption import AGE_HEADER
from k9ops.backups.jobs import rehearse
from k9ops.backups.keys import PrivateKeys, make_one_off_key, read_keys
from k9ops.backups.restore import restore_backup
from k9ops.backups.swap import swap_database
from k9ops.backups.verify import verify_backup
from k9ops.errors import BackupDamaged, KeyUnsuitable
from k9ops.outcome import Execution


@dataclass(frozen=True)
class Pair:
    """A private key and its public one."""

    keys: PrivateKeys
    public: str
    text: str


def make_pair() -> Pair:
    identity = pyrage.x25519.Identity.generate()
    return Pair(read_keys(str(identity)), str(identity.to_public()), str(identity))


@pytest.fixture
def pair() -> Pair:
    return make_pair()


def encrypting(source: Source, *pairs: Pair) -> Source:
    return source.with_settings(backup_recipients=",".join(pair.public for pair in pairs))


def back_up_with_one_off(source: Source) -> tuple[Backup, PrivateKeys]:
    one_off = make_one_off_key()
    backup = create_backup(
        source.settings, source.engine, backup_id=fresh_id(), execution=Execution(), one_off_key=one_off
    )
    return backup, one_off


def verify(source: Source, backup: Backup, pair: Pair | None = None) -> tuple[str, str]:
    keys = pair.keys if pair else None
    verification = verify_backup(source.settings, backup, execution=Execution(), keys=keys)
    return verification.state, verification.reason or ""


def test_create_backup_encrypts_in_the_same_pass(each_source: Source, pair: Pair) -> None:
    other = make_pair()
    source = encrypting(each_source, pair, other)
    backup = source.back_up()
    assert sorted(path.name for path in backup.folder.iterdir()) == [
        f"{backup.backup_id}.dump.age", f"{backup.backup_id}.json",
    ]  # fmt: skip
    content = backup.archive_path.read_bytes()
    assert content.startswith(AGE_HEADER)
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (backup.manifest.sha256, backup.size_bytes)
    assert b"PGDMP" not in content
    plain = pyrage.decrypt(content, list(other.keys.identities))
    encryption = backup.manifest.encryption
    assert encryption is not None
    assert encryption.recipients == (pair.public, other.public)
    assert (hashlib.sha256(plain).hexdigest(), len(plain)) == (encryption.plain_sha256, encryption.plain_size_bytes)
    if backup.manifest.compression == "zstd-stream":
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(plain)
    assert plain.startswith(b"PGDMP")
    assert list_backups(backup.folder).backups == (backup,)
    assert files_of(backup)[0] == backup.archive_path
    assert files_of(backup)[-1].name == f"{backup.backup_id}.json"


def test_verify_backup_with_the_private_key_restores_and_records_the_drill(each_source: Source, pair: Pair) -> None:
    source = encrypting(each_source, pair)
    backup = source.back_up()
    verification = verify_backup(source.settings, backup, execution=Execution(), keys=pair.keys)
    assert (verification.state, verification.opened_with) == ("verified", "private_key")
    assert verification.rows_compared == sum(EXPECTED_ROWS.values())
    assert read_drills(backup.folder)[pair.public].backup_id == backup.backup_id
    assert load_backup(backup.folder, backup.backup_id).verification_state == "verified"
    assert verify(source, backup)[0] == "verified", "the same bytes are still proven without the key"


def test_verify_backup_takes_the_key_of_a_verifying_worker(source: Source, pair: Pair, tmp_path: Path) -> None:
    backup = encrypting(source, pair).back_up()
    (tmp_path / "key").write_text(pair.text)
    worker = source.with_settings(backup_identity_file=tmp_path / "key")
    assert verify(worker, backup) == ("verified", "")


def test_verify_backup_without_any_key_proves_the_digest_and_says_that_it_is_all(source: Source, pair: Pair) -> None:
    backup = encrypting(source, pair).back_up()
    state, reason = verify(source, backup)
    assert state == "unverified"
    assert "its digest is right, which is all that can be told" in reason
    assert "--identity FILE" in reason
    assert source.scratch_databases() == set()


def test_rehearse_proves_all_but_the_private_key_and_counts_once_that_has_opened_one(
    source: Source, pair: Pair
) -> None:
    source = encrypting(source, pair)
    first, one_off = back_up_with_one_off(source)
    rehearse(source.settings, first, one_off, execution=Execution())
    state = load_backup(first.folder, first.backup_id).state.verification
    assert (state.state, state.opened_with) == ("unverified", "one_off_key")
    assert state.rows_compared == sum(EXPECTED_ROWS.values())
    assert "no private key of its recipients has opened any backup yet" in verify(source, first)[1]

    assert verify(source, first, pair) == ("verified", "")
    second, one_off = back_up_with_one_off(source)
    rehearse(source.settings, second, one_off, execution=Execution())
    assert verify(source, second) == ("verified", "")
    assert load_backup(second.folder, second.backup_id).state.verification.opened_with == "one_off_key"

    elsewhere = encrypting(source, make_pair())
    third, one_off = back_up_with_one_off(elsewhere)
    rehearse(elsewhere.settings, third, one_off, execution=Execution())
    assert verify(elsewhere, third)[0] == "unverified", "a drill is one of its own recipients"


def test_rehearse_stores_why_it_could_not(source: Source, pair: Pair) -> None:
    source = encrypting(source, pair)
    backup, one_off = back_up_with_one_off(source)
    away = make_source(source.url.rsplit(":", 1)[0] + ":1/k9", source.settings)
    rehearse(away.settings, backup, one_off, execution=Execution())
    state, reason = verify(source, backup)
    assert state == "unverified"
    assert "Restoring it with its one-off key failed" in reason


def test_rehearse_leaves_the_backup_of_an_earlier_attempt_alone(source: Source, pair: Pair) -> None:
    source = encrypting(source, pair)
    backup, _ = back_up_with_one_off(source)
    rehearse(source.settings, backup, make_one_off_key(), execution=Execution())
    assert load_backup(backup.folder, backup.backup_id) == backup


def test_verify_backup_without_a_key_still_finds_damage_after_the_rehearsal(source: Source, pair: Pair) -> None:
    source = encrypting(source, pair)
    backup, one_off = back_up_with_one_off(source)
    assert verify(source, backup, pair)[0] == "verified"
    rehearse(source.settings, backup, one_off, execution=Execution())
    content = bytearray(backup.archive_path.read_bytes())
    content[len(content) // 2] ^= 1
    backup.archive_path.write_bytes(content)
    assert verify(source, backup) == ("failed", "The archive's SHA-256 is not the one that was written.")


def test_restore_backup_opens_with_any_recipient_key(source: Source, pair: Pair) -> None:
    other = make_pair()
    backup, name = encrypting(source, pair, other).back_up(), new_name()
    try:
        report = restore_backup(source.settings, backup, database=name, execution=Execution(), keys=other.keys)
        assert report.rows_compared == sum(EXPECTED_ROWS.values())
    finally:
        source.run(f"DROP DATABASE {name}")


def test_swap_of_an_encrypted_backup_encrypts_its_safety_backup(source: Source, pair: Pair) -> None:
    source = encrypting(source, pair)
    backup = source.back_up()
    source.run("DELETE FROM public.notification")
    restored = restore_backup(source.settings, backup, database=new_name(), execution=Execution(), keys=pair.keys)
    safety_backup_id = fresh_id()
    report = swap_database(
        source.settings,
        database=restored.database,
        actor="a test",
        execution=Execution(),
        safety_backup_id=safety_backup_id,
    )
    try:
        assert load_backup(backup.folder, safety_backup_id).is_encrypted
        assert source.back_up().manifest.tables == EXPECTED_ROWS
    finally:
        source.run(f'DROP DATABASE "{report.former_database}"')


def _no_key(_backup: Backup) -> None:
    return None


def _altered(backup: Backup) -> None:
    content = bytearray(backup.archive_path.read_bytes())
    content[len(content) // 2] ^= 1
    backup.archive_path.write_bytes(content)


def _cut(backup: Backup) -> None:
    content = backup.archive_path.read_bytes()[:-16]
    backup.archive_path.write_bytes(content)


def _cut_and_hashed_again(backup: Backup) -> None:
    _cut(backup)
    content = backup.archive_path.read_bytes()
    rewrite_manifest(backup, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("sabotage", "gives_key", "error", "words"),
    [
        (_no_key, None, KeyUnsuitable, "give a private key"),
        (_no_key, "wrong", KeyUnsuitable, "the backup is encrypted to age1"),
        (_altered, "right", BackupDamaged, "SHA-256"),
        (_cut, "right", BackupDamaged, "bytes"),
        (_cut_and_hashed_again, "right", BackupDamaged, "cannot be decrypted"),
    ],
)
def test_restore_backup_writes_no_database_when_the_file_does_not_open(
    source: Source,
    pair: Pair,
    sabotage: Callable[[Backup], None],
    gives_key: str | None,
    error: type[Exception],
    words: str,
) -> None:
    backup = encrypting(source, pair).back_up()
    sabotage(backup)
    backup = load_backup(backup.folder, backup.backup_id)
    keys = {"wrong": make_pair().keys, "right": pair.keys, None: None}[gives_key]
    before = source.databases()
    with pytest.raises(error, match=words):
        restore_backup(source.settings, backup, database=new_name(), execution=Execution(), keys=keys)
    assert source.databases() == before


def test_verify_backup_with_the_wrong_key_says_nothing_about_the_backup(source: Source, pair: Pair) -> None:
    source = encrypting(source, pair)
    backup = source.back_up()
    assert verify(source, backup, pair)[0] == "verified"
    with pytest.raises(KeyUnsuitable):
        verify(source, backup, make_pair())
    assert load_backup(backup.folder, backup.backup_id).verification_state == "verified"


def test_create_backup_leaves_nothing_when_the_thread_cannot_write(source: Source, pair: Pair) -> None:
    """A limit on the size of files stops the write, in a process of its own."""
    source = encrypting(source, pair)
    folder = source.settings.backup_dir
    folder.mkdir(mode=0o700, parents=True)
    program = (
        "import errno, pathlib, resource, signal, sys, uuid\n"
        "from datetime import UTC, datetime\n"
        "from sqlalchemy import create_engine\n"
        "from k9ops.backups.catalogue import make_backup_id\n"
        "from k9ops.backups.create import create_backup\n"
        "from k9ops.config.settings import Settings\n"
        "from k9ops.outcome import Execution\n"
        "settings = Settings(database_url=sys.stdin.readline().strip(), backup_dir=pathlib.Path(sys.argv[1]),\n"
        "                    backup_recipients=sys.argv[2], backup_min_free_bytes=0)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    create_backup(settings, create_engine(settings.sqlalchemy_url),\n"
        "                  backup_id=make_backup_id(datetime.now(UTC), uuid.uuid4()), execution=Execution())\n"
        "except OSError as exc:\n"
        "    print(errno.errorcode[exc.errno])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), pair.public],
        input=source.url + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["EFBIG"]
    assert list(folder.iterdir()) == []


def test_create_backup_again_without_recipients_replaces_no_whole_backup(source: Source, pair: Pair) -> None:
    backup = encrypting(source, pair).back_up()
    again = source.back_up(backup_id=backup.backup_id)
    assert again == backup


def test_create_backup_removes_the_plain_archive_of_an_earlier_attempt(source: Source, pair: Pair) -> None:
    plain = source.back_up()
    plain.archive_path.write_bytes(b"cut")
    backup = encrypting(source, pair).back_up(backup_id=plain.backup_id)
    assert not plain.archive_path.exists()
    assert backup.archive_path.exists()
    assert verify(source, backup, pair) == ("verified", "")
    assert database_of(source) == backup.manifest.database
