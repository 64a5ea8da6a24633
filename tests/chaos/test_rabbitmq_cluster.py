"""A cluster of three RabbitMQ nodes, of which one after the other is killed while runs are asked for and executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests.chaos.storm_effects import DDL, QUEUE
from tests.chaos.storm_judge import OPEN, find_broken_promises
from tests.processes import DEADLINE_S, ROOT, end_session, wait_for, worker_process
from tests.rabbitmq_server import Cluster, RabbitmqServer

from k9ops.ledger.outbox import mark_unsent

pytestmark = pytest.mark.cluster

RUNS_BETWEEN = 150
SEED = 7


class Ledger:
    """PostgreSQL, as who judges a storm asks it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, query: str) -> list[Any]:
        with self._engine.begin() as connection:
            result = connection.execute(text(query.replace(":", r"\:")))
            return [tuple(row) for row in result] if result.returns_rows else []

    def count(self, query: str) -> int:
        return int(self.ask(query)[0][0])


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RabbitmqServer]]:
    cluster = Cluster()
    with ExitStack() as stack:
        stack.enter_context(cluster.mapping(tmp_path))
        first = stack.enter_context(RabbitmqServer(tmp_path / "one", cluster))
        others = [
            RabbitmqServer(tmp_path / name, cluster, node=cluster.first_node.replace("@", f"-{name}@"))
            for name in ("two", "three")
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.enter_context, others))
        yield [first, *others]


@contextmanager
def producing(environment: dict[str, str], path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.chaos.storm_producer", str(SEED), "0.01", str(path)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
        assert process.poll() is None
    finally:
        end_session(process)


def find_members(node: RabbitmqServer, queue: str) -> tuple[str, int, int] | None:
    """Return the kind of a queue, how many members it has and how many of them are up; None without an answer."""
    said = node.ask("list_queues", "--formatter", "json", "name", "type", "members", "online")
    for item in json.loads(said or "[]"):
        if item["name"] == queue:
            return item["type"], len(item["members"]), len(item["online"])
    return None


def test_no_run_is_lost_or_executed_twice_when_nodes_of_a_cluster_are_killed(
    engine: Engine, nodes: list[RabbitmqServer], tmp_path: Path
) -> None:
    ledger = Ledger(engine)
    for statement in DDL.split(";"):
        if statement.strip():
            ledger.ask(statement)
    accepted = tmp_path / "accepted"
    environment = {"K9OPS_BROKER_URL": ";".join(node.url for node in nodes), "K9OPS_RESEND_AFTER_S": "3600"}

    def wait_for_successes(more: int) -> None:
        query = "SELECT count(*) FROM k9ops.run WHERE state = 'succeeded'"
        wanted = ledger.count(query) + more
        wait_for(lambda: ledger.count(query) >= wanted, DEADLINE_S * 2)

    with (
        worker_process("tests.chaos.storm_jobs", environment, threads=4),
        worker_process("tests.chaos.storm_jobs", environment, threads=4),
    ):
        with producing(environment, accepted):
            wait_for_successes(RUNS_BETWEEN)
            wait_for(lambda: find_members(nodes[0], QUEUE) == ("quorum", 3, 3))
            for node, other in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
                node.kill()
                wait_for_successes(RUNS_BETWEEN)
                wait_for(lambda other=other: find_members(other, QUEUE) == ("quorum", 3, 2), DEADLINE_S * 2)
                node.start()
                wait_for(lambda other=other: find_members(other, QUEUE) == ("quorum", 3, 3), DEADLINE_S * 2)
            wait_for_successes(RUNS_BETWEEN)
        ids = [uuid.UUID(line) for line in accepted.read_text(encoding="ascii").split()]
        # The producer may have been ended between the row and the message of a run that it has not noted.
        cut_off = {row[0] for row in ledger.ask("SELECT id FROM k9ops.run WHERE sent_at = created_at")} - set(ids)
        mark_unsent(engine, cut_off)
        wait_for(lambda: ledger.count(OPEN) == 0, DEADLINE_S * 2)
    assert len(ids) > RUNS_BETWEEN * 5
    assert find_broken_promises(ledger, ids) == {}  # type: ignore[arg-type]
    assert ledger.count("SELECT count(*) FROM storm.execution") > 0
    # What a worker had fetched was delivered again, and nothing of it was tried again.
    assert ledger.count("SELECT coalesce(sum(deaths), 0) FROM k9ops.run") == 0
