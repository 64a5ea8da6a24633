"""Messages of recorded runs, and the relay that sends what is left in the outbox."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import dramatiq
import redis
from sqlalchemy import Engine

from k9ops.broker.plain_sending import RECORDED_OPTION
from k9ops.broker.problems import broker_unavailable
from k9ops.config.logging import get_logger
from k9ops.errors import BrokerUnavailable
from k9ops.ledger.model import Run
from k9ops.ledger.outbox import mark_unsent, take_unsent_runs

_LOG = get_logger("k9ops.broker")

SentMessage = dramatiq.Message[Any]

_BATCH_RUNS = 200


@runtime_checkable
class LedgerBroker(Protocol):
    """A broker made for messages that the ledger has: `K9opsRedisBroker` or `K9opsRabbitmqBroker`."""

    def enqueue_promptly(self, messages: Sequence[SentMessage]) -> None:
        """Enqueue soon or not at all."""

    def enqueue_all(self, messages: Sequence[SentMessage]) -> None:
        """Enqueue, in as few round trips as there can be."""

    def find_backlogged(self) -> list[str]:
        """Return the queues that have messages which no worker has fetched yet."""


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


def send_messages(broker: dramatiq.Broker, messages: Sequence[SentMessage], *, is_prompt: bool = False) -> None:
    """Hand messages to the broker, in one round trip where it is Redis.

    Args:
        broker: Where they go.
        messages: They.
        is_prompt: Wait no longer than `K9OPS_SEND_TIMEOUT_S`, and not at all while the broker is known to be away.

    Raises:
        BrokerUnavailable: The broker did not confirm them. It may have some or all of them all the same: the claim
            makes a second copy harmless.
    """
    try:
        if isinstance(broker, LedgerBroker):
            (broker.enqueue_promptly if is_prompt else broker.enqueue_all)(messages)
            return
        for message in messages:
            broker.declare_queue(message.queue_name)
            broker.enqueue(message)
    except (redis.RedisError, dramatiq.BrokerConnectionError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not take messages.") from exc


def relay_unsent_runs(
    engine: Engine,
    broker: dramatiq.Broker,
    *,
    resend_after_s: float,
    with_resends: bool = True,
    budget_s: float = float("inf"),
) -> int:
    """Send the message of every run that is due and has none.

    Args:
        engine: The ledger's database.
        broker: Where the messages go.
        resend_after_s: As of `take_unsent_runs`.
        with_resends: Whether messages that seem to be lost are sent again, for which Redis is asked what waits there.
        budget_s: After this many seconds the rest is left for the next round: with a slow Redis, whoever calls
            this has more urgent things to do.

    Returns:
        How many were sent.

    Raises:
        BrokerUnavailable: The rest stays in the outbox.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    backlogged = _find_backlogged_queues(broker) if with_resends else []
    ends_at_s = time.monotonic() + budget_s
    sent = 0
    while True:
        runs = take_unsent_runs(
            engine, resend_after_s=resend_after_s, backlogged=backlogged, with_resends=with_resends, limit=_BATCH_RUNS
        )
        if not runs:
            return sent
        if time.monotonic() > ends_at_s:
            mark_unsent(engine, [run.id for run in runs])
            return sent
        try:
            send_messages(broker, [build_message(run.id, run.job, run.queue, run.params) for run in runs])
        except BrokerUnavailable:
            mark_unsent(engine, [run.id for run in runs])
            raise
        for run in runs:
            _log_relayed(run)
        sent += len(runs)


def _log_relayed(run: Run) -> None:
    log = _LOG.warning if run.sends > 1 else _LOG.info
    log("run.relayed", run_id=str(run.id), job=run.job, queue=run.queue, sends=run.sends)


def _find_backlogged_queues(broker: dramatiq.Broker) -> list[str]:
    if not isinstance(broker, LedgerBroker):
        return []
    try:
        return broker.find_backlogged()
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not answer.") from exc
