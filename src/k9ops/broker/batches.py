"""Asking for many runs of a job at once: the rows first, in one transaction, then the messages, hundreds a time."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import dramatiq
from sqlalchemy import Connection, Engine

from k9ops.broker.enqueue import Enqueued, describe_request
from k9ops.broker.jobs import build_params_check, describe_job
from k9ops.broker.sending import build_message, send_messages
from k9ops.config.logging import get_logger
from k9ops.db.engine import database_errors
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable
from k9ops.ledger.batches import insert_runs, insert_unless_open
from k9ops.ledger.model import NewRun
from k9ops.ledger.outbox import mark_unsent

_LOG = get_logger("k9ops.broker")

_MESSAGES_A_TRIP = 500


def enqueue_runs(
    engine: Engine,
    broker: dramatiq.Broker,
    actor: dramatiq.Actor[..., Any],
    params: Iterable[Mapping[str, Any]],
    *,
    trigger: str = "enqueue",
    requested_by: str | None = None,
    delay_s: float = 0.0,
    connection: Connection | None = None,
    fallback: Literal["outbox", "raise"] = "outbox",
) -> list[Enqueued]:
    """Record a run for each of the parameters, all of them or none, and send their messages.

    Args:
        engine: The ledger's database.
        broker: Where the messages go.
        actor: The job.
        params: The keyword arguments of each run.
        trigger: As of `enqueue_run`; likewise `requested_by`, `delay_s`, `connection`.
        requested_by: Who asked for them.
        delay_s: Earliest start, in seconds from now.
        connection: An open transaction to record them in.
        fallback: As of `enqueue_run`; nothing is executed here.

    Returns:
        What became of each request, in their order.

    Raises:
        ParamsInvalid: The job does not take one of them; nothing is recorded.
        DatabaseUnavailable: Nothing is recorded and nothing sent.
        BrokerUnavailable: With `raise`; the runs are recorded, and those not sent wait in the outbox.
    """
    job, check = describe_job(actor), build_params_check(actor)
    news = []
    for item in params:
        check(item)
        news.append(describe_request(job, dict(item), trigger=trigger, requested_by=requested_by, delay_s=delay_s))
    is_sent_here = connection is None and not delay_s
    if connection is not None:
        refused = insert_runs(connection, news, is_sent=False)
    else:
        insert = insert_unless_open if job.is_coalesced else insert_runs
        with database_errors(), engine.begin() as own:
            refused = insert(own, news, is_sent=is_sent_here)
    recorded = [new for new in news if new.id not in refused]
    sent = _send(engine, broker, recorded, fallback=fallback) if is_sent_here else set()
    return [
        Enqueued(refused[new.id], is_new=False, path=None)
        if new.id in refused
        else Enqueued(new.id, is_new=True, path="worker" if new.id in sent else "outbox")
        for new in news
    ]


def _send(
    engine: Engine, broker: dramatiq.Broker, news: list[NewRun], *, fallback: Literal["outbox", "raise"]
) -> set[uuid.UUID]:
    sent: set[uuid.UUID] = set()
    for start in range(0, len(news), _MESSAGES_A_TRIP):
        chunk = news[start : start + _MESSAGES_A_TRIP]
        messages = [build_message(new.id, new.job, new.queue, dict(new.params)) for new in chunk]
        try:
            send_messages(broker, messages, is_prompt=start == 0)
        except BrokerUnavailable as exc:
            left = [new.id for new in news[start:]]
            _LOG.warning("runs.unsent", job=chunk[0].job, runs=len(left), problem=exc.user_message, fallback=fallback)
            with contextlib.suppress(DatabaseUnavailable):  # they are recorded, seem lost, and are sent later
                mark_unsent(engine, left)
            if fallback == "raise":
                raise
            return sent
        sent.update(new.id for new in chunk)
    return sent
