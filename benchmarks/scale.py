"""Measures for docs/scale.md what grows with the load: bytes, connections, queries of idle processes, both brokers.

    .venv/bin/python benchmarks/scale.py [--runs 20000] [--history 1000000] [--only brokers]

Every server is started here and syncs as it does in service. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from tests.rabbitmq_server import Cluster, RabbitmqServer  # noqa: E402 (the path first)

from k9ops.embedded.places import temporary_folder  # noqa: E402
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir  # noqa: E402
from k9ops.embedded.valkey import ValkeyServer  # noqa: E402

IDLE_S = 20
PERIODIQ = "import sys, periodiq; sys.argv[0] = 'periodiq'; periodiq.entrypoint()"

_HISTORY = """
    INSERT INTO k9ops.run (id, job, queue, params, state, trigger, path, attempt, created_at, due_at, started_at,
        finished_at, message, evidence, sent_at, sends)
    SELECT gen_random_uuid(), 'routine', 'bench', '{"number": 1}', 'succeeded', 'enqueue', 'worker', 1,
        moment, moment, moment, moment + interval '1 second', 'Done.', '{"number": 1}', moment, 1
    FROM (SELECT now() - n * interval '7 seconds' AS moment FROM generate_series(1, %s) n)
"""

_CHILD = """
import json, sys, time
sys.path[:0] = sys.argv[3:]
import scale_jobs
from k9ops.broker.batches import enqueue_runs
from k9ops.broker.enqueue import enqueue_run
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
job = getattr(scale_jobs, sys.argv[1])
count = int(sys.argv[2])
started = time.perf_counter()
if count > 0:
    enqueue_runs(get_engine(), scale_jobs.broker, job, [{"number": n} for n in range(count)])
else:
    for n in range(-count):
        enqueue_run(get_engine(), scale_jobs.broker, get_settings(), job, {"number": n})
print(json.dumps(abs(count) / (time.perf_counter() - started)))
scale_jobs.broker.close()
"""


class Bench:
    """The servers, and the processes that are measured on them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.postgres = stack.enter_context(PostgresServer(folder / "postgres", bin_dir=wheel_bin_dir()))
        self.valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        cluster = Cluster()
        stack.enter_context(cluster.mapping(folder))
        self.rabbitmq = stack.enter_context(RabbitmqServer(folder / "rabbitmq", cluster))
        self.session = stack.enter_context(psycopg.connect(self.postgres.url, autocommit=True))
        self.client = stack.enter_context(redis.Redis.from_url(f"{self.valkey.url}/1"))
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "K9OPS_WATCH_INTERVAL_S": "30",
            "K9OPS_LOG_LEVEL": "warning",
            "PYTHONPATH": f"{ROOT / 'benchmarks'}",
        }
        subprocess.run([sys.executable, "-m", "k9ops", "db", "upgrade"], env=self.environment, check=True)

    def ask(self, query: str, *values: Any) -> Any:
        row = self.session.execute(query, values or None).fetchone()  # type: ignore[call-overload]
        return row[0] if row else None

    def enqueue(self, job: str, count: int, **variables: str) -> float:
        """Ask for runs, all at once or, when the count is negative, one by one; return how many a second."""
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, job, str(count), str(ROOT / "benchmarks")],
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            check=True,
        )
        return float(json.loads(done.stdout))

    @contextmanager
    def process(self, *arguments: str, **variables: str) -> Iterator[None]:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            env={**self.environment, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            started.terminate()
            started.wait(60)

    def worker(self, *, processes: int = 1, threads: int = 4, **variables: str) -> Any:
        options = ["-p", str(processes), "-t", str(threads), "--skip-logging"]
        return self.process("-m", "dramatiq", "scale_jobs", *options, **variables)

    def wait_until(self, query: str) -> float:
        started = time.perf_counter()
        while not self.ask(query):
            time.sleep(0.05)
        return time.perf_counter() - started

    def wait_until_done(self) -> float:
        return self.wait_until(
            "SELECT NOT EXISTS (SELECT FROM k9ops.run WHERE state IN ('queued', 'running', 'retrying'))"
        )

    def sessions(self) -> int:
        return int(self.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'k9ops %'"))

    def table_bytes(self, table: str) -> int:
        self.session.execute(f"VACUUM ANALYZE {table}")  # type: ignore[call-overload]
        return int(self.ask("SELECT pg_total_relation_size(%s::regclass)", table))

    def wal_bytes(self) -> int:
        return int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def measure_bytes(bench: Bench, job: str, runs: int) -> dict[str, float]:
    """Follow runs from the request to the outcome, and say what each leaves behind."""
    bench.client.flushdb()
    tables = ("k9ops.run", "k9ops.audit_event")
    memory, wal = bench.client.info()["used_memory"], bench.wal_bytes()
    before = {table: bench.table_bytes(table) for table in tables}
    bench.enqueue(job, runs)
    found = {
        "Redis memory of a waiting message": (bench.client.info()["used_memory"] - memory) / runs,
        "WAL of a request": (bench.wal_bytes() - wal) / runs,
    }
    wal = bench.wal_bytes()
    most = 0
    with bench.worker(processes=2):
        while not bench.ask("SELECT NOT EXISTS (SELECT FROM k9ops.run WHERE state <> 'succeeded')"):
            most = max(most, bench.sessions())
            time.sleep(0.2)
        found["sessions of two processes of four threads at work"] = most
    found["WAL of claim and outcome"] = (bench.wal_bytes() - wal) / runs
    for table in tables:
        found[f"{table}, with indexes"] = (bench.table_bytes(table) - before[table]) / runs
    return found


def measure_idle(bench: Bench, *commands: tuple[str, ...], **variables: str) -> dict[str, float]:
    """Say what idle processes cost the servers."""
    with ExitStack() as stack:
        for command in commands:
            stack.enter_context(bench.process(*command, **variables))
        time.sleep(15)
        figures: dict[str, Callable[[], float]] = {
            "transactions/s": lambda: float(
                bench.ask("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
            ),
            "Redis commands/s": lambda: float(bench.client.info("stats")["total_commands_processed"]),
        }
        before = {name: read() for name, read in figures.items()}
        time.sleep(IDLE_S)
        found = {name: (read() - before[name]) / IDLE_S for name, read in figures.items()}
        found["sessions"] = bench.sessions()
        found["Redis connections"] = len(bench.client.client_list()) - 1
    return found


def measure_brokers(bench: Bench, runs: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, variables in (("Redis", {}), ("RabbitMQ", {"K9OPS_BROKER_URL": bench.rabbitmq.url})):
        variables["K9OPS_SEND_TIMEOUT_S"] = "30"
        figures = found[name] = {"sent one by one, /s": bench.enqueue("routine", -500, **variables)}
        figures["sent together, /s"] = bench.enqueue("routine", runs, **variables)
        with bench.worker(processes=2, threads=8, **variables):
            bench.wait_until(
                "SELECT count(*) > 100 FROM k9ops.run WHERE state = 'succeeded' AND started_at > now() - interval '9 s'"
            )
            left = bench.ask("SELECT count(*) FROM k9ops.run WHERE state = 'queued'")
            figures["done, /s"] = left / bench.wait_until_done()
            bench.enqueue("routine", -100, **variables)
            bench.wait_until_done()
            waits = bench.ask(
                "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) * 1000"
                " FROM (SELECT * FROM k9ops.run ORDER BY created_at DESC LIMIT 100)"
            )
            figures["start latency p50, ms"] = float(waits)
    return found


def measure_history(bench: Bench, runs: int) -> dict[str, float]:
    """Say what a long history does to size and to what is asked often."""
    before = bench.table_bytes("k9ops.run")
    bench.session.execute(_HISTORY, [runs])
    found: dict[str, float] = {"ledger, GB": (bench.table_bytes("k9ops.run") - before) / 1e9}
    with ExitStack() as stack:
        stack.enter_context(bench.worker())
        time.sleep(5)
        started = time.perf_counter()
        bench.enqueue("routine", 2000)
        bench.wait_until_done()
        found["2,000 runs asked for and done, s"] = time.perf_counter() - started
        for name, command in (
            ("inspect queues, s", ["inspect", "queues"]),
            ("inspect stats of a day, s", ["inspect", "stats"]),
            ("runs list, s", ["runs", "list"]),
        ):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "k9ops", *command, "--json"],
                env=bench.environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            found[name] = time.perf_counter() - started
    count = "SELECT count(*) FROM k9ops.run"
    started, before = time.perf_counter(), bench.ask(count)
    subprocess.run(
        [sys.executable, "-m", "k9ops", "run", "prune_runs", "--json"],
        env={**bench.environment, "K9OPS_RUN_RETENTION_DAYS": "14"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    found["pruned, /s"] = (before - bench.ask(count)) / (time.perf_counter() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--history", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="the measurements whose name has this in it")
    arguments = parser.parse_args()
    with temporary_folder() as folder, ExitStack() as stack:
        bench = Bench(stack, folder)
        worker = ("-m", "dramatiq", "k9ops.actors", "-p", "1", "-t", "4", "--skip-logging")
        results: list[tuple[str, Callable[[], Any]]] = [
            ("a routine run, bytes", lambda: measure_bytes(bench, "routine", arguments.runs)),
            ("a run in the audit, bytes", lambda: measure_bytes(bench, "change", arguments.runs)),
            ("nothing runs", lambda: measure_idle(bench)),
            ("one idle worker process", lambda: measure_idle(bench, worker)),
            ("four idle worker processes", lambda: measure_idle(bench, *[worker] * 4)),
            ("an idle scheduler", lambda: measure_idle(bench, ("-c", PERIODIQ, "k9ops.periodic"))),
            ("an idle dashboard", lambda: measure_idle(bench, ("-m", "k9ops", "web"))),
            ("brokers", lambda: measure_brokers(bench, arguments.runs // 4)),
            ("a long history", lambda: measure_history(bench, arguments.history)),
        ]
        for name, measure in results:
            if arguments.only not in name:
                continue
            print(json.dumps({name: measure()}, indent=1, default=lambda value: round(value, 2)), flush=True)


if __name__ == "__main__":
    main()
