"""Measures the dashboard over HTTP on a ledger of millions of runs, and what open browsers cost the database."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import requests
from readme import write_section
from sqlalchemy import create_engine

from k9ops.config.settings import load_settings
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.embedded.places import temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer
from k9ops.web.accounts import add_account

GOAL_MS = 200
GOAL_QUERIES = 5
BROWSERS = 50

# Two years of a busy unit: nine of ten runs are the service's own routine, one in fifty failed and says why.
_FILL = """
    INSERT INTO k9ops.run (id, job, queue, params, state, trigger, requested_by, path, attempt, created_at, due_at,
        slot, started_at, finished_at, message, evidence, error_class, traceback)
    SELECT gen_random_uuid(), job, queue, '{"backup_id": "20261126T041220Z-aebf6551"}', state,
        CASE WHEN n %% 5 < 3 THEN 'schedule' ELSE 'enqueue' END, 'app', 'worker', 1, at, at,
        CASE WHEN n %% 5 < 3 THEN at END, at, at + interval '1 s' * (n %% 90),
        CASE state WHEN 'failed' THEN 'No space left on device for ' || md5(n::text) || ': القرص ممتلئ'
                   ELSE n || ' rows of 40 tables are as in the manifest.' END,
        CASE state WHEN 'succeeded' THEN '{"rows": 31537, "tables": 40}'::jsonb END,
        CASE state WHEN 'failed' THEN 'DiskFull' END,
        CASE state WHEN 'failed' THEN repeat('Traceback line of a failed run in Python code' || chr(10), 20) END
    FROM (
        SELECT n, now() - interval '1 s' * (n * 63072000.0 / %(runs)s) AS at,
            (ARRAY['relay_outbox', 'rescue_runs', 'canary', 'create_report', 'clean_notifications'])[1 + n %% 5] AS job,
            (ARRAY['k9_tasks', 'k9_tasks', 'k9_tasks', 'reports', 'notifications'])[1 + n %% 5] AS queue,
            CASE WHEN n %% 50 = 7 THEN 'failed' WHEN n %% 50 < 5 THEN 'skipped' ELSE 'succeeded' END AS state
        FROM generate_series(%(first)s, %(last)s) AS n
    ) AS made
"""
_CHUNK = 500_000


def fill(url: str, runs: int) -> float:
    """Make a ledger and return its size in GB; indexes are made after the rows, which is quicker."""
    with psycopg.connect(url, autocommit=True) as session:
        indexes = session.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'k9ops' AND tablename = 'run'"
            " AND indexname NOT LIKE '%pkey'"
        ).fetchall()
        for name, _ in indexes:
            session.execute(f"DROP INDEX k9ops.{name}")  # type: ignore[call-overload]
        for first in range(1, runs + 1, _CHUNK):
            session.execute(_FILL, {"runs": runs, "first": first, "last": min(first + _CHUNK - 1, runs)})
        session.execute("SET maintenance_work_mem = '1GB'")
        for _, definition in indexes:
            session.execute(definition)  # type: ignore[call-overload]
        session.execute("VACUUM ANALYZE k9ops.run")
        row = session.execute("SELECT pg_total_relation_size('k9ops.run')").fetchone()
    return (row[0] if row else 0) / 1e9


@contextmanager
def dashboard(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Serve the dashboard in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "k9ops", "web"],
            env=os.environ | environment | {"K9OPS_WEB_PORT": str(port)},
            stdout=log,
            stderr=log,
        )
        try:
            while True:
                assert process.poll() is None, (folder / "web.log").read_text()
                try:
                    requests.get(f"{url}/healthz", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


def log_in(url: str, password: str) -> requests.Session:
    """Return a browser that has entered."""
    session = requests.Session()
    token = re.search(r'name="csrf" value="([^"]+)"', session.get(f"{url}/login", timeout=30).text)
    assert token
    answer = session.post(f"{url}/login", data={"csrf": token[1], "name": "bench", "password": password}, timeout=30)
    assert 'class="verdict' in answer.text
    return session


def measure(session: requests.Session, url: str, path: str, rounds: int) -> tuple[float, float, int]:
    """Return median and 95th percentile in ms, and how many runs the page shows."""
    taken_ms, shown = [], 0
    for _ in range(rounds):
        started = time.perf_counter()
        answer = session.get(url + path, timeout=60)
        taken_ms.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, (path, answer.status_code)
        shown = len(set(re.findall(r'href="/runs/([0-9a-f-]{36})"', answer.text)))
    return statistics.median(taken_ms), statistics.quantiles(taken_ms, n=20)[-1], shown


def watch(session: requests.Session, url: str, browsers: int, database: str, duration_s: float) -> tuple[float, float]:
    """Open browsers on the live pages; return transactions of the database, and events of a browser, in a second."""
    events, lock, streams = [0], threading.Lock(), list[requests.Response]()

    def read(stream: requests.Response) -> None:
        try:
            for line in stream.iter_lines():
                if line.startswith(b"event: board"):
                    with lock:
                        events[0] += 1
        except (requests.RequestException, AttributeError, ValueError):
            pass  # closed at the end

    for number in range(browsers):
        board = ("overview", "queues")[number % 2]
        stream = requests.get(f"{url}/live/{board}", cookies=session.cookies, stream=True, timeout=60)
        assert stream.status_code == 200
        streams.append(stream)
        threading.Thread(target=read, args=(stream,), daemon=True).start()
    time.sleep(4)
    before, seen, started = count_transactions(database), events[0], time.perf_counter()
    time.sleep(duration_s)
    after, lasted_s = count_transactions(database), time.perf_counter() - started
    told = events[0] - seen
    for stream in streams:
        stream.close()
    return (after - before - 1) / lasted_s, told / lasted_s / browsers


def count_transactions(url: str) -> int:
    """Return the transactions that the server has counted, once idle sessions have reported theirs."""
    time.sleep(1.5)
    with psycopg.connect(url, autocommit=True) as session:
        row = session.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Fill, serve, measure, and write the README's section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="Write the figures into README.md.")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        forgetful = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "8GB"}
        postgres = stack.enter_context(PostgresServer(folder / "pg", bin_dir=wheel_bin_dir(), options=forgetful))
        valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        environment = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "K9OPS_BACKUP_DIR": str(folder / "backups"),
            "K9OPS_REPORTS_DIR": str(folder / "reports"),
        }
        settings = load_settings(environment).settings
        engine = create_engine(settings.sqlalchemy_url)
        build_metadata("B").create_all(engine)
        upgrade(engine)
        engine.dispose()
        own = create_engine_for(settings.sqlalchemy_url, settings, application_name="bench")
        password = secrets.token_urlsafe(12)
        add_account(own, "bench", password, "admin", by="bench", origin="bench")
        own.dispose()
        started = time.perf_counter()
        size_gb = fill(postgres.url, options.runs)
        print(f"{options.runs:,} runs, {size_gb:.1f} GB, filled in {time.perf_counter() - started:.0f} s", flush=True)
        url = stack.enter_context(dashboard(environment, folder))
        session = log_in(url, password)
        rows = measure_pages(session, url, options.rounds)
        costs = [(count, *watch(session, url, count, postgres.url, 20)) for count in (1, BROWSERS)]
    text = describe(options.runs, size_gb, options.rounds, rows, costs)
    print(text)
    if options.write:
        write_section("web", text)


def measure_pages(session: requests.Session, url: str, rounds: int) -> list[tuple[str, float, float, int]]:
    """Measure every filter of the list, and the pages around it."""
    deep = (datetime.now(UTC) - timedelta(days=400)).isoformat().replace("+", "%2B")
    pages = {
        "all, newest page": "/runs",
        "all, 400 days back": f"/runs?before={deep}_ffffffff-ffff-ffff-ffff-ffffffffffff",
        "a job": "/runs?job=create_report",
        "a job that never ran": "/runs?job=verify_backup",
        "a state: failed": "/runs?state=failed",
        "a state that no run has": "/runs?state=expired",
        "a job and a state": "/runs?job=clean_notifications&state=failed",
        "in the last hour": "/runs?period=1h",
        "in the last 30 days, a job": "/runs?period=30d&job=canary",
        "a text that many errors have": "/runs?words=No+space",
        "a text that none has": "/runs?words=no+such+text+anywhere",
        "a text that none has, failed": "/runs?state=failed&words=no+such+text+anywhere",
        "overview": "/",
        "queues and workers": "/queues",
        "schedules": "/schedules",
    }
    measured = []
    for name, path in pages.items():
        session.get(url + path, timeout=60)
        measured.append((name, *measure(session, url, path, rounds)))
        print(*measured[-1], flush=True)
    return measured


def describe(
    runs: int,
    size_gb: float,
    rounds: int,
    rows: list[tuple[str, float, float, int]],
    costs: list[tuple[int, float, float]],
) -> str:
    """Return the README's section."""
    lines = [
        f"`benchmarks/web.py`, a ledger of {runs:,} runs ({size_gb:.1f} GB with its indexes), {rounds} requests of",
        "each page over HTTP, one after another, by a browser that has entered.",
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, which other work shared.",
        f"The goal of each page is a 95th percentile of {GOAL_MS} ms.",
        "",
        "| page of runs | median ms | p95 ms | runs shown |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {median:.0f} | **{p95:.0f}** | {shown} |" for name, median, p95, shown in rows),
        "",
        "A text is in no index: a page searches from the newest run back for a tenth of a second and says how far it",
        "came; the next page goes on from there.",
        "",
        "| open browsers on the live pages | transactions a second | updates of each browser a second |",
        "| --- | --- | --- |",
        *(f"| {count} | **{queries:.1f}** | {updates:.2f} |" for count, queries, updates in costs),
        "",
        f"Half of them look at the overview, half at the queues. The goal is at most {GOAL_QUERIES} a second.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
