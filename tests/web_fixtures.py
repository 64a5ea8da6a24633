"""The dashboard's desk: a real database, a real Redis, real folders, and an account of each role."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from k9ops.broker.build import K9opsRedisBroker
from k9ops.config.settings import get_settings
from k9ops.ledger.claims import claim_run, finish_run
from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.requests import get_run, record_run
from k9ops.web.accounts import add_account
from k9ops.web.visit import Desk

PASSWORD = "a long enough word"


@pytest.fixture
def desk(engine: Engine, broker: K9opsRedisBroker) -> Desk:
    from k9ops import actors

    for name in ("viewer", "operator", "admin"):
        add_account(engine, name, PASSWORD, name, by="test", origin="test")
    for actor in actors.broker.get_declared_actors():
        declared = actors.broker.get_actor(actor)
        broker.actors[actor] = declared
        broker.declare_queue(declared.queue_name)
    return Desk(get_settings(), engine, broker)


def make_run(desk: Desk, **values: object) -> Run:
    new = NewRun(**{"job": "canary", "queue": "k9_tasks"} | values)  # type: ignore[arg-type]
    record_run(desk.engine, new, is_sent=True)
    return get_run(desk.engine, new.id)


def end_run(desk: Desk, run: Run, state: str, message: str, **values: object) -> None:
    claim = claim_run(desk.engine, run.id, owner="w", lease_s=30, path="worker")
    assert claim is not None
    assert finish_run(desk.engine, claim, state=state, message=message, **values)  # type: ignore[arg-type]


def fail(desk: Desk, run: Run, message: str = "It broke.") -> None:
    end_run(desk, run, "failed", message, error_class=message[:60], traceback=message)


def open_incident(desk: Desk, rule: str, subject: str, message: str, *, is_over: bool = False) -> None:
    """Let the watchman have found something a minute ago."""
    statement = text(
        "INSERT INTO k9ops.incident (rule, subject, message, opened_at, told_at, closed_at) VALUES"
        " (:rule, :subject, :message, now() - interval '1 minute', now(), CASE WHEN :is_over THEN now() END)"
    )
    with desk.engine.begin() as connection:
        connection.execute(statement, {"rule": rule, "subject": subject, "message": message, "is_over": is_over})
