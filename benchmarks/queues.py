"""Measures k9ops against other task queues, all of them on this machine in one call.

The peers live in a virtual environment of their own, made by this script: k9ops needs none of them.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from queues_report import write_report

from k9ops.embedded.places import temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer

ROOT = Path(__file__).parents[1]
JOBS = Path(__file__).parent / "queue_peers"
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
PACKAGES = [
    "celery[redis]",
    "dramatiq",
    "redis",
    "rq",
    "huey",
    "taskiq",
    "taskiq-redis",
    "procrastinate",
    "psycopg[binary]",
]
RECORD = struct.Struct("dd")
WARM_UP = 200
LONGEST_S = 180
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Peer:
    """A library as it is started here: the arguments of Python for each worker, where `REDIS` is the server's URL."""

    name: str
    module: str
    workers: list[str]
    jobs: int
    is_own: bool = False
    has_batches: bool = False
    before: str = ""


PEERS = [
    Peer(
        "k9ops", "k9ops_jobs", ["-m dramatiq k9ops_jobs -p 2 -t 16"], 8000, is_own=True, has_batches=True,
        before="-m k9ops db upgrade --json",
    ),
    Peer(
        "k9ops, 8 threads", "k9ops_jobs", ["-m dramatiq k9ops_jobs -p 2 -t 8"], 8000, is_own=True, has_batches=True,
        before="-m k9ops db upgrade --json",
    ),
    Peer("Dramatiq", "dramatiq_jobs", ["-m dramatiq dramatiq_jobs -p 2 -t 8"], 8000),
    Peer("Celery, prefork", "celery_jobs", ["-m celery -A celery_jobs worker -c 2 -l error"], 2500),
    Peer(
        "Celery, threads", "celery_jobs",
        [f"-m celery -A celery_jobs worker -P threads -c 8 -l error -n w{number}@%h" for number in (1, 2)], 2500,
    ),
    Peer(
        "RQ", "rq_jobs", ["-m rq.cli worker-pool bench -n 2 -q -w rq.worker.SimpleWorker -u REDIS/1"], 1500,
        has_batches=True,
    ),
    Peer("Huey", "huey_jobs", ["-m huey.bin.huey_consumer huey_jobs.huey -w 2 -k process -q"], 6000),
    Peer("Taskiq", "taskiq_jobs", ["-m taskiq worker taskiq_jobs:broker -w 2 --log-level ERROR"], 6000),
    Peer(
        "Procrastinate", "procrastinate_jobs",
        ["-m procrastinate -a procrastinate_jobs.app worker -q bench -c 8 --delete-jobs never"] * 2, 2000,
        has_batches=True, before="-m procrastinate -a procrastinate_jobs.app schema --apply",
    ),
]  # fmt: skip


@dataclass
class Figures:
    """What one peer did in one round; rates a second, CPU in milliseconds a job, latencies in milliseconds."""

    send: float = 0
    send_many: float | None = None
    drain: float = 0
    worker_cpu_ms: float = 0
    server_cpu_ms: float = 0
    idle_commands: float = 0
    warm_ms: tuple[float, float, float] = (0, 0, 0)
    cold_ms: tuple[float, float, float] = (0, 0, 0)


class Bench:
    """One peer on fresh servers."""

    def __init__(self, peer: Peer, python: Path, folder: Path, database: PostgresServer, broker: ValkeyServer) -> None:
        self.peer, self.python, self.file = peer, python, folder / "records"
        self.redis_url = broker.url
        self.redis = redis.Redis.from_url(broker.url)
        self.servers = (database, broker)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("K9OPS_")},
            "DATABASE_URL": database.url,
            "REDIS_URL": broker.url,
            "BENCH_FILE": str(self.file),
            "PYTHONPATH": str(JOBS),
            "K9OPS_LOG_LEVEL": "warning",
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.python, *arguments], env=self.environment, check=True, stdout=subprocess.PIPE, text=True, cwd=JOBS
        )
        return done.stdout

    def produce(self, what: str, count: int, *more: float) -> float:
        output = self.run(str(JOBS / "produce.py"), self.peer.module, what, str(count), *map(str, more))
        return float(output.split()[-1])

    @contextmanager
    def working(self) -> Iterator[list[int]]:
        processes = [
            subprocess.Popen(
                [self.python, *command.replace("REDIS", self.redis_url).split()],
                env=self.environment,
                cwd=JOBS,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for command in self.peer.workers
        ]
        try:
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def records(self) -> list[tuple[float, float]]:
        data = self.file.read_bytes() if self.file.exists() else b""
        return [RECORD.unpack_from(data, at) for at in range(0, len(data) // RECORD.size * RECORD.size, RECORD.size)]

    def wait_for(self, count: int) -> None:
        ends_at_s = time.monotonic() + LONGEST_S
        while not self.file.exists() or self.file.stat().st_size < count * RECORD.size:
            if time.monotonic() > ends_at_s:
                raise TimeoutError(
                    f"{self.peer.name}: {len(self.records())} of {count} jobs were done in {LONGEST_S} s"
                )
            time.sleep(0.02)

    def measure(self, *, warm: int, cold: int) -> Figures:
        figures, peer = Figures(), self.peer
        if peer.before:
            self.run(*peer.before.split())
        self.produce("each", 50)
        figures.send = 1000 / self.produce("each", 1000)
        if peer.has_batches:
            figures.send_many = peer.jobs / self.produce("many", peer.jobs)
        else:
            self.produce("each", peer.jobs)
        total = 50 + 1000 + peer.jobs
        with self.working() as sessions:
            self.wait_for(WARM_UP)
            server, worker, before = self.server_cpu_s(), session_cpu_s(sessions), len(self.records())
            self.wait_for(total)
            done = total - before
            figures.worker_cpu_ms = (session_cpu_s(sessions) - worker) / done * 1000
            figures.server_cpu_ms = (self.server_cpu_s() - server) / done * 1000
            started = sorted(started_s for _, started_s in self.records())
            figures.drain = (total - WARM_UP) / (started[-1] - started[WARM_UP])
            time.sleep(3)
            figures.idle_commands = self.count_commands(10) / 2
            figures.warm_ms = self.measure_latency(warm, 0.02, 0.08)
            figures.cold_ms = self.measure_latency(cold, 2.5, 3.0)
        return figures

    def measure_latency(self, count: int, shortest_s: float, longest_s: float) -> tuple[float, float, float]:
        before = len(self.records())
        self.produce("paced", count, shortest_s, longest_s)
        self.wait_for(before + count)
        taken = sorted((started_s - sent_s) * 1000 for sent_s, started_s in self.records()[before:])
        # The first one opens the sender's connections.
        return tuple(taken[min(len(taken) - 1, int(len(taken) * share))] for share in (0.5, 0.95, 0.99))  # type: ignore[return-value]

    def count_commands(self, seconds: float) -> float:
        before = self.redis.info("stats")["total_commands_processed"]
        time.sleep(seconds)
        return (self.redis.info("stats")["total_commands_processed"] - before) / seconds

    def server_cpu_s(self) -> float:
        return sum(descendants_cpu_s(server.pid) for server in self.servers)


def session_cpu_s(sessions: list[int]) -> float:
    """Return the CPU time of all processes of these sessions."""
    return sum(ticks for _, _, session, ticks in read_processes() if session in sessions) / TICKS


def descendants_cpu_s(pid: int) -> float:
    """Return the CPU time of a server: its own, its children's, and that of children that have ended."""
    return sum(ticks for each, parent, _, ticks in read_processes() if pid in (each, parent)) / TICKS


def read_processes() -> list[tuple[int, int, int, int]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found.append((int(entry.name), int(fields[1]), int(fields[3]), sum(map(int, fields[11:15]))))
    return found


def make_environment(folder: Path) -> Path:
    """Return the interpreter of an environment that has the peers."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *PACKAGES], check=True)
    return python


def measure_peer(peer: Peer, peers_python: Path, *, warm: int, cold: int) -> Figures:
    with temporary_folder() as folder:
        bin_dir = DEBIAN_15 if (DEBIAN_15 / "postgres").exists() else wheel_bin_dir()
        with PostgresServer(folder / "pg", bin_dir=bin_dir) as database, ValkeyServer(folder / "valkey") as broker:
            python = Path(sys.executable) if peer.is_own else peers_python
            bench = Bench(peer, python, folder, database, broker)
            return bench.measure(warm=warm, cold=cold)


def take_median(rounds: list[Figures]) -> Figures:
    """Return the median of each figure."""

    def median(name: str) -> float:
        return statistics.median(getattr(each, name) for each in rounds)

    def medians(name: str) -> tuple[float, float, float]:
        return tuple(statistics.median(getattr(each, name)[at] for each in rounds) for at in range(3))  # type: ignore[return-value]

    return Figures(
        send=median("send"),
        send_many=None if rounds[0].send_many is None else median("send_many"),
        drain=median("drain"),
        worker_cpu_ms=median("worker_cpu_ms"),
        server_cpu_ms=median("server_cpu_ms"),
        idle_commands=median("idle_commands"),
        warm_ms=medians("warm_ms"),
        cold_ms=medians("cold_ms"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=300, help="jobs with a pause of 20 to 80 ms")
    parser.add_argument("--cold", type=int, default=20, help="jobs with a pause of 2.5 to 3 s")
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench-peers", help="their virtual environment")
    parser.add_argument("--only", action="append", default=[], help="measure this one and write nothing")
    options = parser.parse_args()
    python = make_environment(options.peers)
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    rounds: dict[str, list[Figures]] = {peer.name: [] for peer in chosen}
    for number in range(options.rounds):
        for peer in chosen:
            figures = measure_peer(peer, python, warm=options.warm, cold=options.cold)
            rounds[peer.name].append(figures)
            print(f"round {number + 1}, {peer.name}: {figures}", flush=True)
    if not options.only:
        write_report({name: take_median(found) for name, found in rounds.items()}, options.rounds)


if __name__ == "__main__":
    main()
