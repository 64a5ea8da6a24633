"""Six sabotaged backups, plain and encrypted: all found, the good one passes, nothing live is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest
from tests.integration.backups.conftest import Source, make_source
from tests.integration.backups.test_encrypted import Pair, encrypting, make_pair
from tests.integration.backups.test_verify import rewrite_manifest

from k9ops.backups.catalogue import Backup, load_backup
from k9ops.backups.manifest import Verification
from k9ops.backups.verify import verify_backup
from k9ops.outcome import Execution


@dataclass(frozen=True)
class Scene:
    """A live database, and how its backups are made and opened."""

    source: Source
    pair: Pair | None

    def verify(self, backup: Backup) -> Verification:
        keys = self.pair.keys if self.pair else None
        backup = load_backup(backup.folder, backup.backup_id)
        return verify_backup(self.source.settings, backup, execution=Execution(), keys=keys)


@pytest.fixture(params=["plain", "encrypted"])
def scene(request: pytest.FixtureRequest, source: Source) -> Scene:
    if request.param == "plain":
        return Scene(source, None)
    pair = make_pair()
    return Scene(encrypting(source, pair), pair)


def live_content(source: Source) -> dict[str, object]:
    """Return a digest of every table of the live database, and the server's databases."""
    with psycopg.connect(source.url) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1"
        ).fetchall()
        content: dict[str, object] = {
            name: connection.execute(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t").fetchone()  # type: ignore[call-overload]
            for (name,) in names
        }
    return content | {"databases": sorted(source.databases())}


def _facts(content: bytes) -> dict[str, object]:
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def put_in_place(victim: Backup, donor: Backup) -> None:
    """Give the archive of one backup to another, with size and digests that fit: all but the tables."""
    victim.archive_path.unlink()
    manifest = donor.manifest
    target = victim.folder / donor.archive_path.name.replace(donor.backup_id, victim.backup_id)
    target.write_bytes(donor.archive_path.read_bytes())
    rewrite_manifest(
        victim,
        manifest_version=manifest.manifest_version,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        compression=manifest.compression,
        uncompressed_bytes=manifest.uncompressed_bytes,
        encryption=manifest.encryption,
    )
    for path in donor.folder.glob(f"{donor.backup_id}.*"):
        path.unlink()


def truncate(scene: Scene, backup: Backup) -> None:
    backup.archive_path.write_bytes(backup.archive_path.read_bytes()[: backup.size_bytes // 2])


def flip_one_bit(scene: Scene, backup: Backup) -> None:
    content = bytearray(backup.archive_path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    backup.archive_path.write_bytes(content)


def drop_a_table(scene: Scene, backup: Backup) -> None:
    scene.source.run("DROP TABLE public.child")
    put_in_place(backup, scene.source.back_up())


def empty(scene: Scene, backup: Backup) -> None:
    backup.archive_path.write_bytes(b"")


def put_another_database(scene: Scene, backup: Backup) -> None:
    name = scene.source.url.rpartition("/")[2] + "_other"
    scene.source.run(f"CREATE DATABASE {name}")
    try:
        other = make_source(f"{scene.source.url.rpartition('/')[0]}/{name}", scene.source.settings)
        other.run("CREATE TABLE public.notification (id int); INSERT INTO public.notification VALUES (1)")
        put_in_place(backup, other.back_up())
    finally:
        scene.source.run(f"DROP DATABASE {name}")


def encrypt_to_a_wrong_key(scene: Scene, backup: Backup) -> None:
    """Encrypted to somebody else, while the manifest says what it should have been: to our key, or not at all."""
    donor = encrypting(scene.source, make_pair()).back_up()
    content, encryption = donor.archive_path.read_bytes(), donor.manifest.encryption
    put_in_place(backup, donor)
    if scene.pair is not None and encryption is not None:
        ours = encryption.model_copy(update={"recipients": (scene.pair.public,)})
        rewrite_manifest(backup, **_facts(content), compression=donor.manifest.compression, encryption=ours)
    else:
        backup.archive_path.write_bytes(content)
        rewrite_manifest(backup, **_facts(content))


SABOTAGES: list[tuple[Callable[[Scene, Backup], None], str]] = [
    (truncate, "were written."),
    (flip_one_bit, "SHA-256 is not the one that was written"),
    (drop_a_table, "public.child has no table instead of 2"),
    (empty, "The archive has 0 bytes"),
    (put_another_database, "Row counts differ"),
    (encrypt_to_a_wrong_key, ""),
]


@pytest.mark.parametrize(("sabotage", "words"), SABOTAGES, ids=[item[0].__name__ for item in SABOTAGES])
def test_verification_finds_the_sabotage_and_passes_the_good_one(
    scene: Scene, sabotage: Callable[[Scene, Backup], None], words: str
) -> None:
    good, bad = scene.source.back_up(), scene.source.back_up()
    assert scene.verify(bad).state == "verified"
    sabotage(scene, bad)
    before = live_content(scene.source)
    found = scene.verify(bad)
    assert found.state == "failed"
    assert words in str(found.reason)
    if sabotage is encrypt_to_a_wrong_key:
        reasons = {"plain": "cannot be decompressed", "encrypted": "to another key than its manifest says"}
        assert reasons["encrypted" if scene.pair else "plain"] in str(found.reason)
    assert load_backup(bad.folder, bad.backup_id).verification_state == "failed"
    assert scene.verify(good).state == "verified"
    assert live_content(scene.source) == before
