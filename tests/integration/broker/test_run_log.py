"""What a run logs is kept with it: by a real worker, in a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
from typing import Any

import dramatiq
import pytest
from sqlalchemy import Engine, text
from tests.integration.broker.test_worker import send, wait_for_end, working
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker.build import K9opsRedisBroker
from k9ops.config.logging import get_logger
from k9ops.errors import TransientError
from k9ops.ledger.claims import claim_run, put_back_run
from k9ops.ledger.execution import current_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import record_run
from k9ops.ledger.run_log import KEPT_LINES, read_log
from k9ops.outcome import Outcome


@pytest.fixture(autouse=True)
def all_levels() -> None:
    logging.getLogger("k9ops.test").setLevel(logging.INFO)


@pytest.mark.usefixtures("no_resend")
def test_lines_are_kept_while_it_runs_and_over_its_attempts(engine: Engine, broker: K9opsRedisBroker) -> None:
    log, may_end = get_logger("k9ops.test"), threading.Event()

    @dramatiq.actor(
        broker=broker, queue_name="tests", max_retries=2, min_backoff=1, max_backoff=1, private_params=["key"]
    )
    def dig(*, key: str) -> Outcome:
        run = current_run()
        assert run is not None
        log.info("hole.begun", opened_with=f"the key {key}")
        logging.getLogger("elsewhere").warning("a line of a library with %s", key)
        if run.claim.run.attempt == 1:
            raise TransientError("The ground is frozen.")
        assert may_end.wait(DEADLINE_S)
        log.info("hole.dug")
        return Outcome("succeeded", "Dug.", {"holes": 1})

    def read() -> list[tuple[Any, ...]]:
        return [(line["attempt"], line["event"]) for line in read_log(engine, run_id)]

    run_id = send(engine, broker, dig, key="open sesame")
    with working(broker):
        wait_for(lambda: (2, "hole.begun") in read())
        may_end.set()
        wait_for_end(engine, run_id)
    lines = read_log(engine, run_id)
    mine = [item for item in read() if item[1].startswith("hole")]
    assert mine == [(1, "hole.begun"), (2, "hole.begun"), (2, "hole.dug")]
    assert "sesame" not in str(lines)
    assert lines[0]["opened_with"] == "the key •••"


def test_silent_run_keeps_nothing(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def rest() -> Outcome:
        return Outcome("succeeded", "Rested.", {"n": 1})

    run_id = send(engine, broker, rest)
    with working(broker):
        wait_for_end(engine, run_id)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT log FROM k9ops.run")).scalar_one() is None


def test_only_the_last_lines_of_all_attempts_are_kept_each_once(engine: Engine) -> None:
    new = NewRun(job="dig", queue="tests")
    record_run(engine, new, is_sent=True)
    for attempt in range(3):
        claim = claim_run(engine, new.id, owner="w", lease_s=30, path="worker")
        assert claim is not None
        lines = [{"n": number, "event": f"{attempt}.{number}"} for number in range(KEPT_LINES // 2 + 20)]
        assert put_back_run(engine, claim, message="", log=[*lines, lines[-1]])
    kept = [line["event"] for line in read_log(engine, new.id)]
    assert len(kept) == len(set(kept))
    assert kept[-1] == f"2.{KEPT_LINES // 2 + 19}"
    assert kept[0].startswith("1.")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT jsonb_array_length(log) FROM k9ops.run")).scalar_one() == KEPT_LINES
