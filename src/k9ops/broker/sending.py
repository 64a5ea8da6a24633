"""Messages of recorded runs, and the relay that sends what is left in the outbox."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

import dramatiq
import redis
from sqlalchemy import Engine

from k9ops.config.logging import get_logger
from k9ops.errors import BrokerUnavailable
from k9ops.ledger.model import Run
from k9ops.ledger.outbox import mark_unsent, take_unsent_runs

_LOG = get_logger("k9ops.broker")

#: Message option that says: the ledger has this run already.
RECORDED_OPTION = "k9ops_recorded"

SentMessage = dramatiq.Message[Any]


def build_message(run_id: uuid.UUID, job: str, queue: str, params: dict[str, Any]) -> SentMessage:
    """Return the message of a recorded run; its id is the run's."""
    kwargs = {name: value for name, value in params.items() if name != "*"}
    return dramatiq.Message(
        queue_name=queue,
        actor_name=job,
        args=tuple(params.get("*", ())),
        kwargs=kwargs,
        options={RECORDED_OPTION: True},
        message_id=str(run_id),
    )


def send_message(broker: dramatiq.Broker, message: SentMessage) -> None:
    """Hand a message to the broker.

    Raises:
        BrokerUnavailable: The broker did not confirm it. It may have the message all the same: the claim makes a
            second copy harmless.
    """
    try:
        broker.declare_queue(message.queue_name)
        broker.enqueue(message)
    except (redis.RedisError, dramatiq.BrokerConnectionError, OSError) as exc:
        raise BrokerUnavailable("Redis does not take messages.", problem=str(exc)) from exc


def relay_unsent_runs(
    engine: Engine, broker: dramatiq.Broker, *, resend_after_s: float, budget_s: float = float("inf")
) -> int:
    """Send the message of every run that is due and has none.

    Args:
        engine: The ledger's database.
        broker: Where the messages go.
        resend_after_s: As of `take_unsent_runs`.
        budget_s: After this many seconds the rest is left for the next round: with a slow Redis, whoever calls
            this has more urgent things to do.

    Returns:
        How many were sent.

    Raises:
        BrokerUnavailable: The rest stays in the outbox.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    runs = take_unsent_runs(engine, resend_after_s=resend_after_s, backlogged=_find_backlogged_queues(broker))
    ends_at_s = time.monotonic() + budget_s
    for position, run in enumerate(runs):
        if time.monotonic() > ends_at_s:
            mark_unsent(engine, [left.id for left in runs[position:]])
            return position
        try:
            send_message(broker, build_message(run.id, run.job, run.queue, run.params))
        except BrokerUnavailable:
            mark_unsent(engine, [left.id for left in runs[position:]])
            raise
        _log_relayed(run)
    return len(runs)


def _log_relayed(run: Run) -> None:
    log = _LOG.warning if run.sends > 1 else _LOG.info
    log("run.relayed", run_id=str(run.id), job=run.job, queue=run.queue, sends=run.sends)


def _find_backlogged_queues(broker: dramatiq.Broker) -> list[str]:
    count = getattr(broker, "count_waiting", None)
    queues: Iterable[str] = broker.get_declared_queues()
    try:
        return [queue for queue in queues if count and count(queue)]
    except (redis.RedisError, OSError) as exc:
        raise BrokerUnavailable("Redis does not answer.", problem=str(exc)) from exc
