"""Asks the broker about its messages; Redis by its keys, as Dramatiq 2.2 names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import dramatiq
import redis
from sqlalchemy import Engine

from k9ops.broker.problems import broker_unavailable
from k9ops.broker.queue_messages import DeadLetter, QueueMessages
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.errors import QueueUnknown
from k9ops.ledger.queues import read_pauses
from k9ops.ledger.statistics import summarise_queues


class AskedBroker(Protocol):
    """A broker that answers for itself."""

    def count_messages(self, queues: Sequence[str]) -> list[QueueMessages]:
        """Count the messages of queues."""

    def list_dead_letters(self, queues: Sequence[str], *, limit: int) -> list[DeadLetter]:
        """Return dead letters."""


def find_queue(engine: Engine, broker: dramatiq.Broker, name: str) -> str:
    """Return the name of a queue that a job has, that runs wait in, or that is paused.

    Raises:
        QueueUnknown: Lists the queues that there are.
    """
    known = sorted({*broker.get_declared_queues(), *summarise_queues(engine), *read_pauses(engine)})
    if name not in known:
        raise QueueUnknown(f"There is no queue {name!r}. The queues are: {', '.join(known)}.")
    return name


def count_messages(broker: K9opsRedisBroker | AskedBroker, queues: Sequence[str]) -> list[QueueMessages]:
    """Count the messages of queues; in Redis by one round trip for the counts and one for what workers hold.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    if not isinstance(broker, K9opsRedisBroker):
        return broker.count_messages(queues)
    space = broker.namespace
    client: Any = broker.client
    try:
        workers = [name.decode() for name in client.zrange(f"{space}:__heartbeats__", 0, -1)]
        pipe = client.pipeline(transaction=False)
        for queue in queues:
            pipe.llen(f"{space}:{queue}")
            pipe.llen(f"{space}:{queue}.DQ")
            pipe.zcard(f"{space}:{queue}.XQ")
            for worker in workers:
                pipe.scard(f"{space}:__acks__.{worker}.{queue}")
                pipe.scard(f"{space}:__acks__.{worker}.{queue}.DQ")
        counts = iter(pipe.execute())
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not answer.") from exc
    found = []
    for queue in queues:
        waiting, delayed, dead = next(counts), next(counts), next(counts)
        fetched = 0
        for _ in workers:
            fetched += next(counts)
            delayed += next(counts)
        found.append(QueueMessages(queue, waiting, delayed, fetched, dead))
    return found


def list_dead_letters(
    broker: K9opsRedisBroker | AskedBroker, queues: Sequence[str], *, limit: int = 100
) -> list[DeadLetter]:
    """Return dead letters of each queue; from Redis the newest first, from RabbitMQ the oldest.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    if not isinstance(broker, K9opsRedisBroker):
        return broker.list_dead_letters(queues, limit=limit)
    letters = []
    client: Any = broker.client
    try:
        for queue in queues:
            key = f"{broker.namespace}:{queue}.XQ"
            newest = client.zrevrange(key, 0, limit - 1, withscores=True)
            if not newest:
                continue
            texts = client.hmget(f"{key}.msgs", [message_id for message_id, _ in newest])
            for (message_id, died_ms), text in zip(newest, texts, strict=True):
                job = json.loads(text)["actor_name"] if text else "unknown"
                died_at = datetime.fromtimestamp(died_ms / 1000, tz=UTC)
                letters.append(DeadLetter(message_id.decode(), job, queue, died_at))
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not answer.") from exc
    return letters
