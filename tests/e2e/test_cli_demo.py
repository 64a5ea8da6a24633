from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Command, wait_for

from k9ops.process_tree import find_descendants, still_running

NOWHERE = "redis://:hunter2@127.0.0.1:1"


def check_document(document: dict[str, Any]) -> None:
    assert document["is_ok"] is True
    assert {check["name"]: check["is_ok"] for check in document["checks"]} == dict.fromkeys(
        (
            "slots",
            "catch-up",
            "schedules",
            "notifications",
            "ledger",
            "archive",
            "verification",
            "row counts",
            "application",
            "scratch databases",
            "dashboard",
            "processes",
        ),
        True,
    )
    jobs = {run["job"]: run for run in document["runs"]}
    assert [run["state"] for run in document["runs"]] == [*["succeeded"] * 5, "skipped"]
    assert jobs["lock_schedules"]["evidence"]["locked"] == jobs["lock_schedules"]["evidence"]["audited"] > 0
    assert jobs["clean_notifications"]["evidence"]["deleted"] > 0
    archive = next(Path(document["backup_dir"]).glob("*.dump"))
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == jobs["create_backup"]["evidence"]["sha256"]
    assert jobs["verify_backup"]["evidence"]["rows_compared"] > 10_000


@pytest.mark.parametrize("generation", ["A", "B"])
def test_demo_shows_a_verified_backup_and_leaves_nothing_running(bare_k9ops: Command, generation: str) -> None:
    before = find_descendants()
    document = bare_k9ops.json("demo", "--generation", generation)
    assert document["generation"] == generation
    check_document(document)
    assert find_descendants() <= before


def test_demo_can_be_run_again_and_says_everything(bare_k9ops: Command) -> None:
    first = bare_k9ops.json("demo")
    text = bare_k9ops("demo").stdout
    (archive,) = Path(first["backup_dir"]).glob("*.dump")
    for words in (
        "lock_schedules  succeeded",
        "create_backup  succeeded",
        "verify_backup  succeeded",
        "apply_retention  skipped",
        "zstd",
    ):
        assert words in text
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in text
    assert str(archive.parent) in text
    assert "fail" not in text


def test_demo_touches_nothing_that_settings_name(bare_k9ops: Command) -> None:
    (bare_k9ops.folder / ".env").write_text(
        f"K9OPS_BROKER_URL={NOWHERE}\nK9OPS_RESULT_URL={NOWHERE}\nK9OPS_BACKUP_DIR=real\n"
        "K9OPS_VERIFY_DATABASE_URL=postgresql://k9:hunter2@127.0.0.1:1/k9\n",
        encoding="utf-8",
    )
    check_document(bare_k9ops.json("demo", DATABASE_URL="postgresql://127.0.0.1:1/k9", CELERY_BROKER_URL=NOWHERE))
    assert not (bare_k9ops.folder / "real").exists()


def test_two_demos_at_once_do_not_collide(bare_k9ops: Command, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Command(tmp_path_factory.mktemp("other"), {})
    with other.started("demo", "--json") as process:
        check_document(bare_k9ops.json("demo"))
        assert process.wait(timeout=120) == 0, other.output()
    with bare_k9ops.started("demo"):
        wait_for(lambda: "Starting" in bare_k9ops.output())
        assert "Another demo is at work" in bare_k9ops("demo", code=1).stderr


@pytest.mark.parametrize(
    "words", ["Starting PostgreSQL", "Starting a worker", "canary  succeeded", "Starting two schedulers"]
)
def test_demo_leaves_nothing_running_when_it_is_interrupted(bare_k9ops: Command, words: str) -> None:
    with bare_k9ops.started("demo") as process:
        wait_for(lambda: words in bare_k9ops.output())
        processes = find_descendants(process.pid)
        wait_for(lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None)
        assert process.returncode == 130, bare_k9ops.output()
    wait_for(lambda: not still_running(processes))
    assert "Traceback" not in bare_k9ops.output()


def test_demo_fails_loudly_when_its_worker_dies(bare_k9ops: Command) -> None:
    with bare_k9ops.started("demo") as process:
        wait_for(lambda: "Starting a worker" in bare_k9ops.output())
        masters = wait_for(lambda: [item for item in find_descendants(process.pid) if item.name.startswith("python")])
        for master in masters:
            with contextlib.suppress(ProcessLookupError):
                os.kill(master.pid, signal.SIGKILL)
        assert process.wait(timeout=60) == 1, bare_k9ops.output()
    assert "Error: The worker ended with code -9." in bare_k9ops.output()
    assert "The last lines of the worker's log:" in bare_k9ops.output()
