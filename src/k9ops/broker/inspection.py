"""What Redis knows: messages that wait, are fetched, are delayed, or are dead. Keys as Dramatiq 2.2 names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dramatiq
import redis
from sqlalchemy import Engine

from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.errors import BrokerUnavailable, QueueUnknown
from k9ops.ledger.queues import read_pauses
from k9ops.ledger.statistics import summarise_queues


@dataclass(frozen=True)
class QueueMessages:
    """Messages of a queue.

    Attributes:
        queue: Its name.
        waiting: No worker has fetched them.
        delayed: Wait in Redis for their time; k9ops itself leaves none there.
        fetched: A worker holds them, executed now or next.
        dead: Dead letters.
    """

    queue: str
    waiting: int
    delayed: int
    fetched: int
    dead: int


@dataclass(frozen=True)
class DeadLetter:
    """A message that Dramatiq gave up.

    Attributes:
        message_id: Also the run's id.
        job: Name of the actor.
        queue: Where it was.
        died_at: Aware UTC.
    """

    message_id: str
    job: str
    queue: str
    died_at: datetime


def find_queue(engine: Engine, broker: dramatiq.Broker, name: str) -> str:
    """Return the name of a queue that a job has, that runs wait in, or that is paused.

    Raises:
        QueueUnknown: Lists the queues that there are.
    """
    known = sorted({*broker.get_declared_queues(), *summarise_queues(engine), *read_pauses(engine)})
    if name not in known:
        raise QueueUnknown(f"There is no queue {name!r}. The queues are: {', '.join(known)}.")
    return name


def count_messages(broker: K9opsRedisBroker, queues: Sequence[str]) -> list[QueueMessages]:
    """Count the messages of queues, in one round trip for the counts and one for what workers hold.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
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
        raise BrokerUnavailable("Redis does not answer.", problem=str(exc)) from exc
    found = []
    for queue in queues:
        waiting, delayed, dead = next(counts), next(counts), next(counts)
        fetched = 0
        for _ in workers:
            fetched += next(counts)
            delayed += next(counts)
        found.append(QueueMessages(queue, waiting, delayed, fetched, dead))
    return found


def list_dead_letters(broker: K9opsRedisBroker, queues: Sequence[str], *, limit: int = 100) -> list[DeadLetter]:
    """Return dead letters, the newest of each queue first.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
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
        raise BrokerUnavailable("Redis does not answer.", problem=str(exc)) from exc
    return letters
