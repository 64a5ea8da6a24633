"""Workers, a scheduler and a producer at work on servers of their own, to which faults may happen."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from psycopg.types.json import Jsonb
from tests.chaos.proxy import Proxy
from tests.chaos.storm_clock import WorkerClock
from tests.chaos.storm_effects import DDL, EPOCH, QUEUE
from tests.chaos.storm_files import REQUESTS, SmallDisk, find_broken_files, find_left_files
from tests.chaos.storm_fleet import MARK, Fleet, Member, find_marked
from tests.chaos.storm_judge import OPEN, count_figures, find_broken_promises, find_left_behind
from tests.chaos.storm_servers import BROKER_DATABASE, StormPostgres, StormRedis
from tests.processes import ROOT, wait_for

from k9ops.ledger.model import NewRun

LEASE_S = 3
_DRAIN_S = 240


class Storm:
    """Everything that a fault may happen to.

    Args:
        folder: Of this storm; made.
        seed: Of what the producer asks for.
        pause_s: Between two of its requests.
        is_long: Whether backups and reports are asked for too, on a small disk, and one worker has a clock that jumps.

    Attributes:
        redis: The server.
        postgres: The server.
        redis_proxies: One for each half of the fleet.
        postgres_proxies: Likewise.
        fleet: The processes.
        disk: Of backups and reports.
        clock: That of the second worker.
    """

    def __init__(self, folder: Path, seed: int, *, pause_s: float = 0.1, is_long: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self._is_long = is_long
        self.disk = SmallDisk(folder / "disk")
        self.clock = WorkerClock(folder / "clock")
        self.folder = folder
        self._producer_arguments = [str(seed), str(pause_s)]
        self._mark = secrets.token_hex(8)
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self.redis = StormRedis(folder / "redis")
        self.postgres = StormPostgres(folder / "postgres")
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.redis.kill)
            self.redis.start()
            stack.callback(self.postgres.stop)
            self.postgres.start()
            if self._is_long:
                stack.enter_context(self.disk.mounted())
            self.redis_proxies = [stack.enter_context(Proxy(self.redis.port)) for _ in range(2)]
            self.postgres_proxies = [stack.enter_context(Proxy(self.postgres.port)) for _ in range(2)]
            environments = [self._build_environment(half) for half in range(2)]
            preparation = [["upgrade"], ["seed", "--generation", "B"]] if self._is_long else [["upgrade"]]
            for arguments in preparation:
                command = [sys.executable, "-m", "k9ops", "db", *arguments]
                environment = {**os.environ, **environments[0]}
                subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
            self.postgres.ask(DDL)
            module = "storm_work" if self._is_long else "storm_jobs"
            worker = ["dramatiq", f"tests.chaos.{module}", "-p", "1", "-t", "4"]
            clock = self.clock.environment if self._is_long else {}
            producer = ["tests.chaos.storm_producer", *self._producer_arguments, str(self._accepted_path)]
            self.fleet = Fleet(
                {
                    "worker-1": Member(worker, environments[0], self.folder / "worker-1.log"),
                    "worker-2": Member(worker, environments[1] | clock, self.folder / "worker-2.log"),
                    "scheduler": Member(["periodiq", "k9ops.periodic"], environments[1], self.folder / "scheduler.log"),
                    "producer": Member(producer, environments[0], self.folder / "producer.log"),
                }
            )
            stack.callback(self.fleet.stop)
            self.fleet.start()
            wait_for(lambda: self.count_effects() > 0)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def workers(self) -> list[Member]:
        """The workers, in order."""
        return [self.fleet.members["worker-1"], self.fleet.members["worker-2"]]

    def restart_postgres(self, number: int) -> None:
        """Stop PostgreSQL by a signal and start it again; proxies lead to its new port."""
        self.postgres.stop(number)
        self.postgres.start()
        for proxy in self.postgres_proxies:
            proxy.server_port = self.postgres.port

    def ask_for(self, job: str, params: dict[str, Any], *, queue: str = QUEUE) -> uuid.UUID:
        """Record a run, which the relay of a worker sends."""
        new = NewRun(job=job, queue=queue, params=params)
        self.postgres.ask(
            "INSERT INTO k9ops.run (id, job, queue, params, trigger) VALUES (%s, %s, %s, %s, %s)",
            [new.id, new.job, new.queue, Jsonb(params), new.trigger],
        )
        return new.id

    def count_effects(self) -> int:
        """Return how many runs have had their effect."""
        return int(self.postgres.ask("SELECT count(*) FROM storm.effect")[0][0])

    def wait_for_effects(self, count: int = 1) -> None:
        """Wait until work goes on."""
        before = self.count_effects()
        wait_for(lambda: self.count_effects() >= before + count)

    def end(self) -> dict[str, Any]:
        """Let the storm pass: ask for no more, wait until every run has ended, stop everything, and judge.

        Returns:
            `broken` promises, what is `left` behind, and `figures`.
        """
        self.fleet.dismiss("producer")
        try:
            wait_for(lambda: self.postgres.ask(OPEN)[0][0] == 0, deadline_s=_DRAIN_S)
            if self._is_long:  # the next run of each job tidies up what killed ones have left
                for job, queue, params in REQUESTS:
                    self.ask_for(job, params, queue=queue)
                wait_for(lambda: self.postgres.ask(OPEN)[0][0] == 0, deadline_s=_DRAIN_S)
            wait_for(lambda: not self._find_waiting())
        except AssertionError:
            pass  # the judge says which runs have no outcome
        left = self._find_waiting()
        self.fleet.stop()
        try:
            wait_for(lambda: not find_left_behind(self.postgres), deadline_s=30)
        except AssertionError:
            left |= find_left_behind(self.postgres)
        # What renders reports knows nothing of the storm but where temporary files go.
        if found := find_marked(f"{MARK}={self._mark}") + find_marked(f"TMPDIR={self._temporary}"):
            left["processes"] = sorted(set(found))
        if files := [path.name for path in self._temporary.iterdir()]:
            left["files"] = files
        broken = find_broken_promises(self.postgres, self._read_accepted())
        if self._is_long:
            broken |= find_broken_files(self.postgres, self.disk.backups, self.disk.reports)
            if found_files := find_left_files(self.disk.backups, self.disk.reports):
                left["files"] = left.get("files", []) + found_files
        return {"broken": broken, "left": left, "figures": count_figures(self.postgres)}

    def _find_waiting(self) -> dict[str, Any]:
        lengths = self.redis.count_keys(BROKER_DATABASE, "dramatiq:*")
        return {f"messages in {key}": count for key, count in lengths.items() if count and not key.endswith(".wake")}

    @property
    def _accepted_path(self) -> Path:
        return self.folder / "accepted"

    def _read_accepted(self) -> list[uuid.UUID]:
        # The last line of a producer that was killed may be half a line.
        lines = [line for line in self._accepted_path.read_text(encoding="ascii").split("\n") if len(line) == 36]
        assert lines, "the producer got nothing accepted"
        return [uuid.UUID(line) for line in lines]

    def _build_environment(self, half: int) -> dict[str, str]:
        return {
            "DATABASE_URL": self.postgres.url_by_port(self.postgres_proxies[half].port),
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_proxies[half].port}",
            "K9OPS_LEASE_S": str(LEASE_S),
            "K9OPS_RELAY_INTERVAL_S": "0.2",
            "K9OPS_RESEND_AFTER_S": "1",
            "K9OPS_CONNECT_TIMEOUT_S": "1",
            "K9OPS_STATEMENT_TIMEOUT_S": "5",
            "K9OPS_LOCK_TIMEOUT_S": "2",
            "K9OPS_WATCH_INTERVAL_S": "0",
            "K9OPS_BACKUP_DIR": str(self.disk.backups),
            "K9OPS_BACKUP_MIN_FREE_BYTES": "0",
            "K9OPS_REPORTS_DIR": str(self.disk.reports),
            "K9OPS_LOG_FORMAT": "json",
            "TMPDIR": str(self._temporary),
            EPOCH: str(time.time() - time.monotonic()),
            MARK: self._mark,
        }
