"""Measures lock_schedules and clean_notifications against the old ways, and what the application feels meanwhile.

Every scenario starts from a copy of the same database of at least 1 GB, on one server that syncs its commits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from readme import write_section
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import Session, declarative_base

from k9ops.config.settings import load_settings
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.embedded.places import temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.outcome import Execution
from k9ops.upkeep.notifications import clean_notifications
from k9ops.upkeep.schedules import lock_schedules

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
SCHEDULES = 10_000
LOCKS_A_ROUND = 5
MODEL = "model"

# A web application: one notification every few milliseconds, each committed, each timed.
INSERTER = """
import json, sys, time, uuid
import psycopg
url, user_id, interval_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
taken_ms = []
with psycopg.connect(url, autocommit=True) as session:
    statement = ("INSERT INTO notification (id, user_id, type, title, message, read, created_at)"
                 " VALUES (%s, %s, 'SCHEDULE_CREATED', 'x', 'y', false, now() AT TIME ZONE 'UTC')")
    session.execute(statement, (uuid.uuid4(), user_id))
    print("ready", flush=True)
    import select
    while not select.select([sys.stdin], [], [], interval_s)[0]:
        started = time.perf_counter()
        session.execute(statement, (uuid.uuid4(), user_id))
        taken_ms.append((time.perf_counter() - started) * 1000)
print(json.dumps(taken_ms))
"""

_NOTIFICATIONS = """
    INSERT INTO notification (id, user_id, type, title, message, read, read_at, created_at)
    SELECT gen_random_uuid(), %(user)s, 'SCHEDULE_CREATED', 'تم إنشاء جدول العمل رقم ' || n,
        'السائس أحمد العتيبي مكلف بالكلب K9-' || n %% 997 || ' في الوردية الصباحية ' || md5(n::text),
        CASE WHEN n %% 5 < 4 THEN true WHEN n %% 2 = 0 THEN false END, now(),
        now() AT TIME ZONE 'UTC' - interval '31 days' - n * interval '3 s'
    FROM generate_series(1, %(rows)s) AS n
"""


def fill_model(server: PostgresServer, rows: int) -> int:
    """Make the database that every scenario copies: `rows` notifications, four fifths of them read and old.

    Returns:
        Its size in bytes.
    """
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {MODEL}")
    engine = create_engine(url_of(server, MODEL).replace("postgresql://", "postgresql+psycopg://"))
    build_metadata("B").create_all(engine)
    upgrade(engine)
    engine.dispose()
    with psycopg.connect(url_of(server, MODEL), autocommit=True) as session:
        session.execute("SET session_replication_role = replica")
        user = "00000000-0000-0000-0000-000000000001"
        session.execute(
            'INSERT INTO "user" (id, username, email, role, full_name, employee_id)'
            " VALUES (%s, 'a', 'a', 'HANDLER', 'a', gen_random_uuid())",
            [user],
        )
        session.execute(_NOTIFICATIONS, {"user": user, "rows": rows})
        session.execute(
            "INSERT INTO daily_schedule (id, date, project_id, status, created_at, updated_at)"
            " SELECT gen_random_uuid(), current_date - 2 - n %% 300, gen_random_uuid(), 'OPEN', now(), now()"
            " FROM generate_series(1, %s) AS n",
            [SCHEDULES],
        )
        session.execute("VACUUM ANALYZE")
        session.execute("CHECKPOINT")
        row = session.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def url_of(server: PostgresServer, database: str) -> str:
    """Return the URL of another database of the server."""
    return f"{server.url.rpartition('/')[0]}/{database}"


@contextmanager
def fresh_copy(server: PostgresServer) -> Iterator[str]:
    """Give the URL of a fresh copy of the model."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE trial TEMPLATE {MODEL}")
        admin.execute("CHECKPOINT")
    try:
        yield url_of(server, "trial")
    finally:
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute("DROP DATABASE trial WITH (FORCE)")


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long an action took, in seconds, and what it returned."""
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result


def count(url: str, condition: str, table: str = "notification") -> int:
    """Count rows."""
    with psycopg.connect(url) as session:
        row = session.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()  # type: ignore[arg-type]
    return int(row[0]) if row else 0


def connect(engine: Engine) -> None:
    """Open the connection that a worker, or a web application, has open at that time."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def lock_by_k9ops(url: str) -> float:
    """Time the job."""
    settings = load_settings({"DATABASE_URL": url}).settings
    engine = create_engine_for(settings.sqlalchemy_url, settings, application_name="bench")
    connect(engine)
    taken_s, outcome = timed(lambda: lock_schedules(settings, engine, execution=Execution(), slot=None))
    engine.dispose()
    assert outcome.evidence["locked"] == outcome.evidence["audited"] == SCHEDULES
    return taken_s


def lock_one_by_one(url: str) -> float:
    """Time the old way: a SELECT, an UPDATE and a COMMIT for each schedule as an object, without an audit entry."""
    base = declarative_base()
    table = build_metadata("B").tables["public.daily_schedule"]

    class Schedule(base):  # type: ignore[misc, valid-type]
        __table__ = table

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    connect(engine)

    def run() -> None:
        with Session(engine) as session:
            wanted = select(table.c.id).where(table.c.status == "OPEN", table.c.date < datetime.now(UTC).date())
            for schedule_id in session.scalars(wanted).all():
                session.get_one(Schedule, schedule_id).status = "LOCKED"
                session.commit()

    taken_s = timed(run)[0]
    engine.dispose()
    assert count(url, "status = 'OPEN'", "daily_schedule") == 0
    return taken_s


FULL_SPEED = {"K9OPS_NOTIFICATION_PAUSE_S": "0", "K9OPS_NOTIFICATION_BATCH_ROWS": "500"}


def clean_by_k9ops(url: str, *, wanted: int, variables: dict[str, str]) -> float:
    """Time the job with settings of its own."""
    settings = load_settings({"DATABASE_URL": url, "K9OPS_STATEMENT_TIMEOUT_S": "0", **variables}).settings
    engine = create_engine_for(settings.sqlalchemy_url, settings, application_name="bench")
    taken_s, outcome = timed(lambda: clean_notifications(settings, engine, execution=Execution(), slot=None))
    engine.dispose()
    assert outcome.evidence["deleted"] == wanted, outcome
    return taken_s


def clean_objects(url: str, rows: int) -> float:
    """Time the old way on a part: load rows as objects, delete one by one, commit once."""
    base = declarative_base()
    table = build_metadata("B").tables["public.notification"]

    class Notification(base):  # type: ignore[misc, valid-type]
        __table__ = table

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    cutoff = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)

    def run() -> None:
        with Session(engine) as session:
            wanted = select(Notification).where(table.c.read, table.c.created_at < cutoff).limit(rows)
            for item in session.scalars(wanted).all():
                session.delete(item)
            session.commit()

    taken_s = timed(run)[0]
    engine.dispose()
    return taken_s


def delete_at_once(url: str) -> float:
    """Time one single DELETE."""

    def run() -> None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(
                "DELETE FROM notification WHERE read AND created_at < now() AT TIME ZONE 'UTC' - interval '30 days'"
            )

    return timed(run)[0]


class Inserts:
    """An application that inserts while something else happens."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-c", INSERTER, url, "00000000-0000-0000-0000-000000000001", "0.005"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> list[float]:
        """Return how long each took, in ms."""
        out, _ = self._process.communicate("stop\n")
        taken: list[float] = json.loads(out)
        return taken


def p99(taken_ms: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(taken_ms, n=100)[98]


def measure_latency(server: PostgresServer, work: Callable[[str], Any]) -> tuple[float, float]:
    """Return the p99 of inserts in ms while something works, and how long that took in seconds."""
    with fresh_copy(server) as url:
        inserts = Inserts(url)
        taken_s, _ = timed(lambda: work(url))
        return p99(inserts.stop()), taken_s


_SECTION = """
`benchmarks/upkeep.py`, PostgreSQL {version} that syncs its commits, a database of {size_gb:.2f} GB, medians of {rounds}
rounds in turn, each on a fresh copy. Measured on {date}, {cores} cores.

| what | the old way | k9ops | ratio |
| --- | --- | --- | --- |
| lock {schedules:,} open schedules, in k9ops with an audit entry each | \
{old_lock_s:.2f} s: SELECT, UPDATE and COMMIT each | {lock_s:.2f} s | **{lock_ratio:.0f} x faster** |
| delete {deleted:,} of {rows:,} notifications at full speed (no pause, batches of 500) | \
{old_clean_s:.0f} s: objects one by one \
({old_us:.0f} µs a row, measured on {sample:,}) | {clean_s:.1f} s ({us:.1f} µs a row) | **{clean_ratio:.0f} x faster** |

What the application feels meanwhile: p99 of an INSERT with its COMMIT, one every 5 ms, by another process.

| meanwhile | it takes | p99 of an INSERT (each round) | of idle |
| --- | --- | --- | --- |
{latency}
"""


def main() -> None:
    """Measure; size and rounds by option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="notifications; four fifths go")
    parser.add_argument("--sample", type=int, default=200_000, help="rows that are deleted as objects")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    deleted = options.rows * 4 // 5
    bin_dir = DEBIAN_15 if (DEBIAN_15 / "postgres").exists() else wheel_bin_dir()
    scenarios: dict[str, Callable[[str], Any]] = {
        "nothing (idle)": lambda url: time.sleep(15),
        "clean_notifications, full speed": lambda url: clean_by_k9ops(url, wanted=deleted, variables=FULL_SPEED),
        "clean_notifications, default settings": lambda url: clean_by_k9ops(url, wanted=deleted, variables={}),
        "one single DELETE": delete_at_once,
    }
    locks: dict[str, list[float]] = {"old": [], "new": []}
    cleans: dict[str, list[float]] = {"old": [], "new": []}
    latencies: dict[str, list[tuple[float, float]]] = {name: [] for name in scenarios}
    with temporary_folder() as work, PostgresServer(work / "postgres", bin_dir=bin_dir) as server:
        size_bytes = fill_model(server, options.rows)
        print(f"{size_bytes / 1e9:.2f} GB", flush=True)
        with psycopg.connect(server.url) as session:
            version = session.info.parameter_status("server_version")
        for number in range(options.rounds):
            for _ in range(LOCKS_A_ROUND):  # it takes a fraction of a second, of which one sample says little
                with fresh_copy(server) as url:
                    locks["new"].append(lock_by_k9ops(url))
            with fresh_copy(server) as url:
                locks["old"].append(lock_one_by_one(url))
            with fresh_copy(server) as url:
                cleans["old"].append(clean_objects(url, options.sample) / options.sample)
            with fresh_copy(server) as url:
                cleans["new"].append(clean_by_k9ops(url, wanted=deleted, variables=FULL_SPEED) / deleted)
            for name, action in scenarios.items():
                latencies[name].append(measure_latency(server, action))
            told = {name: f"{found[-1][0]:.1f} ms in {found[-1][1]:.0f} s" for name, found in latencies.items()}
            print(f"round {number + 1}: lock {locks}, clean {cleans}, p99 {told}", flush=True)
    idle_ms = statistics.median(found for found, _ in latencies["nothing (idle)"])
    rows = []
    for name, found in latencies.items():
        each = ", ".join(f"{ms:.1f}" for ms, _ in found)
        median_ms, median_s = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append(f"| {name} | {median_s:.0f} s | {median_ms:.1f} ms ({each}) | **{median_ms / idle_ms:.1f} x** |")
    old_lock, new_lock, old, new = (statistics.median(item) for item in (*locks.values(), *cleans.values()))
    section = _SECTION.format(
        version=version,
        size_gb=size_bytes / 1e9,
        rounds=options.rounds,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        schedules=SCHEDULES,
        old_lock_s=old_lock,
        lock_s=new_lock,
        lock_ratio=old_lock / new_lock,
        deleted=deleted,
        rows=options.rows,
        old_clean_s=old * deleted,
        old_us=old * 1e6,
        sample=options.sample,
        clean_s=new * deleted,
        us=new * 1e6,
        clean_ratio=old / new,
        latency="\n".join(rows),
    )
    write_section("upkeep", section)
    print(section)


if __name__ == "__main__":
    main()
