"""A worker killed in the middle of an upload: another one goes on, the run ends once, Drive has one backup."""

from __future__ import annotations

import os
import signal
from datetime import date
from pathlib import Path

from sqlalchemy import text
from tests.drive_double.connecting import make_tokens
from tests.drive_double.server import running_double
from tests.processes import wait_for, worker_process
from tests.unit.backups.making import make_manifest

from k9ops.backups.catalogue import Backup, archive_path, load_backup, manifest_path, upload_path
from k9ops.backups.manifest import encode
from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.enqueue import enqueue_run
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.db.sample import seed
from k9ops.drive.local import read_local_file
from k9ops.durable import open_folder
from k9ops.ledger.requests import get_run
from k9ops.outcome import Execution

CHUNK = 1024 * 1024
SIZE = 40 * CHUNK + 17


def make_large_backup(folder: Path) -> Backup:
    """Put a backup into the folder whose archive is of no database: it is only moved."""
    backup_id = "20261124T020000Z-0000002a"
    archive = archive_path(open_folder(folder), backup_id)
    archive.write_bytes(os.urandom(SIZE))
    digest = read_local_file(archive, properties={}, execution=Execution()).sha256
    manifest = make_manifest(backup_id=backup_id, size_bytes=SIZE, sha256=digest)
    manifest_path(folder, backup_id).write_bytes(encode(manifest))
    return load_backup(folder, backup_id)


def test_upload_ends_once_when_its_workers_are_killed(
    broker: K9opsRedisBroker, redis_url: str, database_url: str
) -> None:
    from k9ops.actors import upload_backup

    engine, settings = get_engine(), get_settings()
    seed(engine, "A", today=date(2026, 11, 24))
    backup = make_large_backup(settings.backup_dir)
    with running_double() as double:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE public.backup_settings SET google_drive_enabled = true, google_drive_credentials = :json"),
                {"json": make_tokens(double).encode()},
            )
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "K9OPS_DRIVE_API_URL": double.url,
            "K9OPS_DRIVE_CHUNK_BYTES": str(CHUNK),
        }
        run_id = enqueue_run(engine, broker, settings, upload_backup, {"backup_id": backup.backup_id}).run_id
        for kill in range(2):
            awaited = len(double.state.chunks) + 8
            with worker_process("k9ops.actors", environment) as victim:
                wait_for(lambda awaited=awaited: len(double.state.chunks) >= awaited)  # type: ignore[misc]
                os.killpg(victim.pid, signal.SIGKILL)
            assert get_run(engine, run_id).state != "succeeded", kill
        with worker_process("k9ops.actors", environment):
            wait_for(lambda: get_run(engine, run_id).is_final)
        run = get_run(engine, run_id)
        assert (run.state, run.deaths) == ("succeeded", 2), run.message
        stored = {item.meta["name"]: bytes(item.content) for item in double.state.contents()}
        assert stored == {
            path.name: path.read_bytes()
            for path in (backup.archive_path, manifest_path(backup.folder, backup.backup_id))
        }
        sent = sum(length for _, _, length in double.state.chunks)
        assert sent <= SIZE + 2 * CHUNK + manifest_path(backup.folder, backup.backup_id).stat().st_size
    copy = load_backup(settings.backup_dir, backup.backup_id).state.drive_copy
    assert copy is not None
    assert copy.files[0].sha256 == backup.manifest.sha256
    assert not upload_path(settings.backup_dir, backup.backup_id).exists()
