"""The guided restore, the swap and the way back, as a person and as a script use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.e2e.conftest import Command


@pytest.fixture(autouse=True)
def drop_sides(database_url: str) -> Iterator[None]:
    """Drop what the test leaves beside its database."""
    yield
    base, _, live = database_url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as session:
        for (name,) in session.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [live]
        ).fetchall():
            if name != live:
                session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def count_rows(url: str, name: str | None = None) -> int:
    with psycopg.connect(url, **({"dbname": name} if name else {})) as connection:
        row = connection.execute("SELECT count(*) FROM public.notification").fetchone()
    assert row is not None
    return int(row[0])


def lose_rows(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM public.notification WHERE id > 10")


def actions(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT action FROM k9ops.audit_event WHERE target_type = 'database' ORDER BY id"
        return [action for (action,) in connection.execute(query)]


def beside(k9ops: Command) -> dict[str, Any]:
    return {item["database"]: item for item in k9ops.json("backup", "databases")["databases"]}


def test_restore_makes_a_database_beside_the_live_one(
    k9ops: Command, backup: dict[str, Any], database_url: str
) -> None:
    old = f"{database_url.rpartition('/')[2]}_old"
    lose_rows(database_url)
    report = k9ops.json("backup", "restore", backup["backup_id"], "--to", old)
    assert (report["database"], report["tables_compared"]) == (old, len(backup["manifest"]["tables"]))
    assert (report["kept_until"], report["swap"]) == (None, None)
    changes = {change["table"]: change for change in report["comparison"]["tables"]}
    assert changes["public.notification"] == {
        "table": "public.notification", "state": "differs", "live_rows": 10, "restored_rows": 1000, "only_live": 0,
        "only_restored": 990,
    }  # fmt: skip
    assert (count_rows(database_url, old), count_rows(database_url)) == (1000, 10)
    assert "exists already" in k9ops("backup", "restore", backup["backup_id"], "--to", old, code=2).stderr
    assert beside(k9ops)[old]["kind"] == "restored"
    k9ops("backup", "drop", old, "--yes")
    assert beside(k9ops) == {}


def test_restore_shows_what_differs_to_a_person(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    lose_rows(database_url)
    done = k9ops("backup", "restore", backup["backup_id"][:10], "--to", f"{database_url.rpartition('/')[2]}_old")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("public.notification")]
    assert line.split()[1:] == ["10", "1,000", "0", "990"]
    quick = k9ops("backup", "restore", backup["backup_id"], "--quick", "--to", f"{database_url.rpartition('/')[2]}_new")
    (line,) = [line for line in quick.stdout.splitlines() if line.startswith("public.notification")]
    assert line.split()[1:] == ["10", "1,000", "-", "-"]


def test_restore_brings_the_rows_of_some_tables(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    old = f"{database_url.rpartition('/')[2]}_old"
    done = k9ops("backup", "restore", backup["backup_id"], "--tables", "notifications", "--to", old, code=2)
    assert "no table notifications. Did you mean public.notification?" in done.stderr
    report = k9ops.json("backup", "restore", backup["backup_id"], "--tables", "notification", "--to", old)
    assert report["tables"] == ["public.notification"]
    assert [change["table"] for change in report["comparison"]["tables"]] == ["public.notification"]
    with psycopg.connect(database_url, dbname=old) as connection:
        assert connection.execute("SELECT count(*) FROM k9ops.run").fetchone() == (0,)
    assert count_rows(database_url, old) == 1000
    assert "cannot be the live database" in k9ops("backup", "swap", old, "--yes", code=2).stderr


def test_restore_swaps_and_undo_brings_back(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    lose_rows(database_url)
    report = k9ops.json("backup", "restore", backup["backup_id"], "--swap", "--yes")["swap"]
    assert count_rows(database_url) == 1000
    assert count_rows(database_url, report["former_database"]) == 10
    safety = k9ops.json("backup", "show", report["safety_backup_id"])
    assert safety["manifest"]["tables"]["public.notification"] == 10
    assert list(beside(k9ops)) == [report["former_database"]]
    assert actions(database_url) == ["start_restore", "compare", "swap"]
    undone = k9ops("backup", "undo", "--yes")
    assert f"{report['former_database']} is the live database" in undone.stdout
    assert count_rows(database_url) == 10
    assert actions(database_url) == ["start_restore", "compare", "swap", "undo"]
    k9ops("check", "--timeout", "1", code=1)
    assert k9ops.json("runs", "list")["runs"], "the ledger is there"


def test_restore_works_without_a_safety_backup(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    """A live database that cannot be dumped any more, or a full disk, is a reason to restore, not an obstacle."""
    lose_rows(database_url)
    full = {"K9OPS_BACKUP_MIN_FREE_BYTES": str(10**18)}
    restore = ("backup", "restore", backup["backup_id"], "--swap", "--yes")
    assert "are free" in k9ops(*restore, code=1, **full).stderr
    assert count_rows(database_url) == 10
    ((name, _),) = beside(k9ops).items()
    report = k9ops.json("backup", "swap", name, "--yes", "--no-safety-backup", **full)
    assert report["safety_backup_id"] is None
    assert count_rows(database_url) == 1000
    assert len(k9ops.json("backup", "list")["backups"]) == 1


def test_guide_picks_compares_and_swaps(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    live = database_url.rpartition("/")[2]
    lose_rows(database_url)
    done = k9ops.answered("backup", "restore", answers=f"7\n1\nwhat?\nswap\n{live}\n")
    assert "verified" in done.stdout
    assert "'7' is none of them" in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("public.notification")]
    assert line.split()[1:] == ["10", "1,000", "0", "990"]
    assert f"Backup {backup['backup_id']} is the live database {live} now." in done.stdout
    assert "k9ops backup undo" in done.stdout
    assert count_rows(database_url) == 1000
    back = k9ops.answered("backup", "undo", answers=f"{live}\n")
    assert "is to come back" in back.stderr
    assert count_rows(database_url) == 10


def test_guide_keeps_or_drops_what_it_restored(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    k9ops.answered("backup", "restore", backup["backup_id"], answers="k\n")
    ((name, side),) = beside(k9ops).items()
    assert side["until"] is None
    assert "is dropped" in k9ops.answered("backup", "drop", name, answers="y\n").stdout
    done = k9ops.answered("backup", "restore", answers="1\nd\n")
    assert "is dropped." in done.stdout
    assert beside(k9ops) == {}
    assert count_rows(database_url) == 1000


@pytest.mark.parametrize("answers", ["1\ns\nanother\n", "1\n\x04", "\x04"], ids=["wrong name", "late", "early"])
def test_guide_changes_nothing_when_a_person_hesitates(
    k9ops: Command, backup: dict[str, Any], database_url: str, answers: str
) -> None:
    lose_rows(database_url)
    code = 2 if "another" in answers else 130
    done = k9ops.answered("backup", "restore", answers=answers, code=code)
    if code == 2:
        assert "'another' is not the name of the live database" in done.stderr
        ((name, side),) = beside(k9ops).items()
        assert side["until"] is not None, "it goes by itself"
        k9ops("backup", "swap", name, "--yes")
        assert count_rows(database_url) == 1000
    else:
        assert count_rows(database_url) == 10
        assert len(k9ops.json("backup", "list")["backups"]) == 1


def test_guide_says_so_when_there_is_no_backup(k9ops: Command) -> None:
    assert (
        "There is no backup in the backup folder" in k9ops.answered("backup", "restore", answers="1\n", code=2).stderr
    )


def test_retention_drops_an_undo_whose_time_is_over(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    former = k9ops.json("backup", "restore", backup["backup_id"], "--swap", "--yes")["swap"]["former_database"]
    assert k9ops.json("backup", "prune", "--dry-run")["databases_dropped"] == []
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT jsonb_set(shobj_description(oid, 'pg_database')::jsonb, '{k9ops_mark,until}',"
            " '\"2020-01-01T00:00:00Z\"')::text FROM pg_database WHERE datname = %s",
            [former],
        ).fetchone()
        assert row is not None
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(former), sql.Literal(row[0]))
        connection.execute(statement)
    assert k9ops.json("backup", "prune", "--dry-run")["databases_dropped"] == [former]
    assert k9ops.json("backup", "prune")["databases_dropped"] == [former]
    assert beside(k9ops) == {}
    assert "There is nothing to undo" in k9ops("backup", "undo", "--yes", code=2).stderr
