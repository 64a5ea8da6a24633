"""Processes and servers of a real service are killed in turn; people hear of each once, and once that it is over."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.proxy import Proxy
from tests.chaos.storm_servers import StormPostgres, StormRedis
from tests.e2e.conftest import Command, wait_for
from tests.integration.alerts.conftest import Receiver
from tests.mail_server import Mailbox, running_mail_server

from k9ops.embedded.places import temporary_folder

_SCHEDULES = (
    "lock_schedules", "clean_notifications", "create_backup", "relay_outbox", "rescue_runs", "canary", "prune_runs",
    "expire_reports",
)  # fmt: skip
_PAUSE = "INSERT INTO k9ops.schedule (name, dispatched_until, paused_at, paused_by) VALUES (%s, now(), now(), 'test')"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    with running_mail_server(tmp_path) as box:
        yield box


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[StormPostgres, StormRedis, Proxy]]:
    """A PostgreSQL behind a proxy that keeps its port, and a Redis, which may be killed."""
    with temporary_folder() as folder, ExitStack() as stack:
        postgres, redis = StormPostgres(folder / "postgres"), StormRedis(tmp_path / "redis")
        postgres.start()
        stack.callback(postgres.stop)
        redis.start()
        stack.callback(redis.kill)
        proxy = stack.enter_context(Proxy(postgres.port))
        yield postgres, redis, proxy


def test_each_incident_is_told_once_and_so_is_its_end(
    tmp_path: Path, servers: tuple[StormPostgres, StormRedis, Proxy], receiver: Receiver, mailbox: Mailbox
) -> None:
    postgres, redis, proxy = servers
    k9ops = Command(
        tmp_path,
        {
            "DATABASE_URL": postgres.url_by_port(proxy.port),
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
            "K9OPS_BACKUP_DIR": str(tmp_path / "backups"),
            "K9OPS_LEASE_S": "5",
            "K9OPS_INLINE_FALLBACK": "off",
            "K9OPS_RELAY_INTERVAL_S": "0.2",
            "K9OPS_WATCH_INTERVAL_S": "1",
            "K9OPS_ALERT_QUEUE_GRACE_S": "10",
            "K9OPS_ALERT_WEBHOOK_URL": f"{receiver.url}/webhook",
            "K9OPS_ALERT_MAIL_TO": "admin@unit.example",
            "K9OPS_SMTP_URL": f"{mailbox.url}?starttls=off",
            "K9OPS_SMTP_FROM": "k9ops@unit.example",
            "K9OPS_ALERT_OFF": "disk_full,backup_old",  # of the machine that tests, and of the application's wishes
        },
    )
    k9ops("db", "upgrade")
    expected: list[str] = []

    def hear(*messages: str) -> None:
        """Wait for messages, which both channels get, and nothing besides."""
        expected.extend(messages)
        wait_for(lambda: len(receiver.at("webhook")) >= len(expected) and len(mailbox.taken) >= len(expected))
        assert [f"{item['kind']} {item['rule']}" for item in receiver.at("webhook")] == expected
        assert len(mailbox.taken) == len(expected)

    def age(statement: str) -> None:
        """Let what waits be older than the graces."""
        assert postgres.ask(statement)

    def rounds() -> list[tuple[Any, ...]]:
        return postgres.ask("SELECT holder, round_at FROM k9ops.watchman")

    late = "UPDATE k9ops.run SET due_at = due_at - interval '1 minute' WHERE state = 'queued' RETURNING id"
    with ExitStack() as stack:
        stack.enter_context(k9ops.started("watch"))
        wait_for(rounds)

        # Nothing starts by itself, at whatever hour this is.
        for name in _SCHEDULES:
            postgres.ask(_PAUSE, (name,))

        # The scheduler dies.
        with k9ops.scheduler() as scheduler:
            assert not postgres.ask("SELECT name FROM k9ops.schedule WHERE paused_at IS NULL")
            os.killpg(scheduler.pid, signal.SIGKILL)
        age("UPDATE k9ops.schedule SET dispatched_until = dispatched_until - interval '10 minutes' RETURNING name")
        hear("alert scheduler_silent")
        stack.enter_context(k9ops.scheduler("another"))
        hear("recovery scheduler_silent")

        # The worker dies, and a run waits for one.
        with k9ops.worker() as worker:
            wait_for(lambda: postgres.ask("SELECT 1 FROM k9ops.process WHERE kind = 'worker'"))
            os.killpg(worker.pid, signal.SIGKILL)
        k9ops("enqueue", "canary")
        age(late)
        hear("alert queue_unserved")
        stack.enter_context(k9ops.worker())
        hear("recovery queue_unserved")

        # Redis dies, and a run waits for it.
        redis.kill()
        k9ops("enqueue", "canary")
        age(late)
        hear("alert outbox_growing")
        redis.start()
        hear("recovery outbox_growing")
        wait_for(lambda: not postgres.ask("SELECT 1 FROM k9ops.run WHERE finished_at IS NULL"))

        # PostgreSQL dies, and nobody can be elected through it.
        postgres.stop(signal.SIGQUIT)
        hear("alert database_away")
        postgres.start()
        proxy.server_port = postgres.port
        hear("recovery database_away")

        # The watchman who holds the election dies: another goes on, and there is nothing to tell.
        holder, _ = wait_for(rounds)[0]
        os.kill(int(holder.split(":")[1]), signal.SIGKILL)
        first = wait_for(lambda: [item for item in rounds() if item[0] != holder])[0]
        wait_for(lambda: rounds()[0][1] > first[1])
        hear()
