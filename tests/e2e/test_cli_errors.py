"""No command answers bad input, or a server that is away, with a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.conftest import Command

NOWHERE = "127.0.0.1:1"
UNKNOWN_RUN = "ffffffff-0000-4000-8000-000000000000"

NEEDS_DATABASE = [
    ("runs", "list"),
    ("runs", "show", UNKNOWN_RUN),
    ("runs", "retry", UNKNOWN_RUN),
    ("runs", "cancel", UNKNOWN_RUN),
    ("enqueue", "canary"),
    ("run", "canary"),
    ("backup", "create"),
    ("backup", "prune"),
    ("backup", "prune", "--dry-run"),
    ("backup", "databases"),
    ("backup", "swap", "x", "--yes"),
    ("backup", "undo", "--yes"),
    ("backup", "drop", "x", "--yes"),
    ("db", "upgrade"),
    ("db", "current"),
    ("db", "check"),
    ("db", "seed"),
    ("up",),
]


@pytest.mark.parametrize("arguments", NEEDS_DATABASE, ids=" ".join)
def test_command_ends_with_3_when_the_database_is_away(bare_k9ops: Command, arguments: tuple[str, ...]) -> None:
    urls = {"DATABASE_URL": f"postgresql://k9:hunter2@{NOWHERE}/k9", "REDIS_URL": f"redis://:hunter2@{NOWHERE}"}
    done = bare_k9ops(*arguments, code=3, **urls)
    assert "Error: PostgreSQL is not available: Connection refused." in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_check_fails_but_goes_on_when_everything_is_away(bare_k9ops: Command) -> None:
    urls = {"DATABASE_URL": f"postgresql://k9:hunter2@{NOWHERE}/k9", "REDIS_URL": f"redis://:hunter2@{NOWHERE}"}
    done = bare_k9ops("check", code=1, **urls)
    assert "hunter2" not in done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    states = {line[5:].split("  ")[0].strip(): line[:4].strip() for line in lines}
    failing = {name for name, state in states.items() if state == "fail"}
    assert failing == {
        "database",
        "migrations",
        "application",
        "redis",
        "pg_dump",
        "drive credentials",
        "google drive",
        "scheduler",
        "clocks",
        "queues",
    }
    assert {"settings", "backup folder", "last backup", "actors"} <= set(states) - failing


def test_check_says_which_setting_is_wrong(bare_k9ops: Command) -> None:
    (finding,) = bare_k9ops.json("check", code=1, REDIS_URL="localhost")["checks"]
    assert (finding["name"], finding["status"]) == ("settings", "fail")
    assert "REDIS_URL = (secret): must look like redis://" in finding["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "show", "xyz"), "'xyz' is not the id of a run."),
        (("runs", "show", UNKNOWN_RUN), "There is no run whose id starts with"),
        (("runs", "retry", "f"), "There is no run whose id starts with"),
        (("runs", "list", "--since", "soon"), "--since 'soon': it must be"),
        (("enqueue", "nonsense"), "There is no job 'nonsense'. The jobs are: apply_retention,"),
        (("run", "nonsense"), "There is no job 'nonsense'."),
        (("enqueue", "create_backup", "--param", "colour=red"), "its parameters are: slot, only_if_enabled."),
        (("enqueue", "create_backup", "--param", "only_if_enabled=maybe"), "it must be a valid boolean"),
        (("enqueue", "create_backup", "--param", "slot=noon"), "slot = 'noon': it must be a moment"),
        (("run", "verify_backup"), "missing a required"),
        (("backup", "show", "2026"), "There is no backup 2026."),
        (("backup", "verify", "2026"), "There is no backup 2026."),
        (("backup", "restore", "2026"), "There is no backup 2026."),
        (("backup", "restore"), "Without a terminal, name the backup"),
        (("backup", "restore", "2026", "--swap"), "Without a terminal, --swap needs --yes."),
        (("backup", "restore", "2026", "--swap", "--to", "x"), "exclude each other"),
        (("backup", "restore", "2026", "--swap", "--tables", "dog"), "some tables alone are no live database"),
        (("backup", "restore", "2026", "--no-safety-backup"), "--no-safety-backup goes with --swap."),
        (("backup", "swap", "x"), "Without a terminal, `k9ops backup swap` needs --yes."),
        (("backup", "swap", "x", "--yes"), "x is no database that k9ops keeps beside"),
        (("backup", "undo"), "Without a terminal, `k9ops backup undo` needs --yes."),
        (("backup", "undo", "--yes"), "There is nothing to undo"),
        (("backup", "drop", "x"), "Without a terminal, `k9ops backup drop` needs --yes."),
        (("backup", "drop", "x", "--yes"), "x is no database that k9ops keeps beside"),
        (("backup", "pin", "2026", "--reason", "x"), "There is no backup 2026."),
        (("backup", "pin", "2026", "--reason", " "), "--reason: it must say why"),
        (("backup", "unpin", "2026"), "There is no backup 2026."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_command_ends_with_2_and_says_what_is_wrong(
    empty_k9ops: Command, arguments: tuple[str, ...], words: str
) -> None:
    empty_k9ops("db", "upgrade")
    document = empty_k9ops.json(*arguments, code=2)
    assert words in document["error"]["message"]


@pytest.mark.parametrize("arguments", [("runs", "list"), ("enqueue", "canary"), ("backup", "create")], ids=" ".join)
def test_command_says_how_to_make_the_tables(empty_k9ops: Command, arguments: tuple[str, ...]) -> None:
    assert "Run `k9ops db upgrade`" in empty_k9ops(*arguments, code=2).stderr


@pytest.mark.parametrize("arguments", [("config", "show"), ("backup", "list"), ("runs", "list"), ("up",), ("demo",)])
def test_command_names_a_wrong_setting(bare_k9ops: Command, arguments: tuple[str, ...]) -> None:
    done = bare_k9ops(*arguments, code=2, K9OPS_BACKUP_KEEP_DAILY="-1")
    assert "K9OPS_BACKUP_KEEP_DAILY = '-1': must be greater than or equal to 0." in done.stderr


def test_enqueue_keeps_the_run_when_redis_is_away(empty_k9ops: Command) -> None:
    empty_k9ops("db", "upgrade")
    document = empty_k9ops.json("enqueue", "canary", REDIS_URL=f"redis://{NOWHERE}")
    assert (document["path"], document["run"]["state"], document["run"]["sent_at"]) == ("outbox", "queued", None)


def test_backup_list_names_a_folder_that_may_not_be_read(bare_k9ops: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    document = bare_k9ops.json("backup", "list", K9OPS_BACKUP_DIR=str(tmp_path / "file"))
    assert document == {"backups": [], "problems": []}
    assert "is not a folder" in bare_k9ops("check", code=1, K9OPS_BACKUP_DIR=str(tmp_path / "file")).stdout
