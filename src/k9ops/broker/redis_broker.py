"""Dramatiq's Redis broker with wake-ups, with batches, and without delayed messages in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import current_millis, dq_name

from k9ops.broker.acknowledging import Acknowledger
from k9ops.broker.breaker import CircuitBreaker
from k9ops.broker.capacity import Capacity
from k9ops.broker.consumer import Gate, WokenConsumer
from k9ops.broker.plain_sending import RECORDED_OPTION, send_plainly
from k9ops.broker.problems import broker_unavailable, explain_redis
from k9ops.broker.prompt_connection import limit_request
from k9ops.broker.results import EncodedResult

# Queue, id in Redis, encoded message.
_Stored = tuple[str, str, bytes]

_MOST_TOKENS = 32
_NO_ACTOR_RANK = 1_000_000

# Keys: list of the queue, its messages, the unacknowledged of this process, tokens. First argument: most tokens.
_PUT_BACK = """
local count = 0
for i = #ARGV, 2, -1 do
    if redis.call("srem", KEYS[3], ARGV[i]) > 0 and redis.call("hexists", KEYS[2], ARGV[i]) > 0 then
        redis.call("lpush", KEYS[1], ARGV[i])
        redis.call("rpush", KEYS[4], "1")
        count = count + 1
    end
end
redis.call("ltrim", KEYS[4], 0, ARGV[1] - 1)
return count
"""

# Keys: the unacknowledged of this process, messages of the queue, results. Arguments: how many messages, their ids,
# then of each result the database, the data and its milliseconds. A message that another worker was given meanwhile
# keeps its data. A result is what Dramatiq stores, a list of one element, which readers turn round. It comes last:
# after a command that frees memory Redis refuses no other for want of it.
_ACKNOWLEDGE = """
local ids = tonumber(ARGV[1])
for i = 2, ids + 1 do
    if redis.call("srem", KEYS[1], ARGV[i]) > 0 then
        redis.call("hdel", KEYS[2], ARGV[i])
    end
end
for i = 3, #KEYS do
    local at = ids + 3 * i - 7
    redis.call("select", ARGV[at])
    redis.call("del", KEYS[i])
    redis.call("lpush", KEYS[i], ARGV[at + 1])
    redis.call("pexpire", KEYS[i], ARGV[at + 2])
end
"""


class K9opsRedisBroker(RedisBroker):
    """Dramatiq's Redis broker; what it stores for a message is the same.

    Beside each queue there is a short list of tokens. Who enqueues adds one, and a worker process with a free thread
    waits for one, so that a message is fetched within a round trip. A token carries nothing: a queue is also looked
    at now and then without one.

    Args:
        sender: A client of prompt connections, for requests that a person waits for; None for the ordinary one.
        send_timeout_s: Longest wait of such a request, in seconds.
        **options: As of Dramatiq's broker.

    Attributes:
        capacity: Of the worker in this process.
        breaker: Of the requests of this process.
    """

    def __init__(self, *, sender: redis.Redis | None = None, send_timeout_s: float = 0.2, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.capacity = Capacity()
        self.sender = sender or self.client
        self._send_timeout_s = send_timeout_s
        self.breaker = CircuitBreaker(self.sender.ping)
        self._gates: dict[str, Gate] = {}
        self._acknowledgers: dict[str, Acknowledger] = {}
        self._put_back = self.client.register_script(_PUT_BACK)
        self._acknowledge = self.client.register_script(_ACKNOWLEDGE)

    @property
    def consumer_class(self) -> type[WokenConsumer]:
        """Return the class of this broker's consumers."""
        return WokenConsumer

    def find_gate(self, queue: str) -> Gate:
        """Return the gate of a queue, the same for all its consumers in this process."""
        gate = self._gates.setdefault(queue, Gate())
        ranks = [actor.priority for actor in self.actors.values() if actor.queue_name == queue]
        self.capacity.set_rank(queue, min(ranks, default=_NO_ACTOR_RANK))
        return gate

    def find_acknowledger(self, queue: str) -> Acknowledger:
        """Return what acknowledges the messages of a queue, the same for all its consumers in this process."""
        return self._acknowledgers.setdefault(queue, Acknowledger(lambda ended: self.acknowledge(queue, ended)))

    def ring_all(self) -> None:
        """Let every consumer of this process look at its queue."""
        for gate in list(self._gates.values()):
            gate.bell.set()

    def token_key(self, queue: str) -> str:
        """Return the key of a queue's tokens; `queue` may be a delay queue."""
        return f"{self.namespace}:{queue}.wake"

    def wake(self, queue: str, count: int = 1) -> None:
        """Add tokens for messages that are in a queue."""
        pipe = self.client.pipeline(transaction=False)
        self._add_tokens(pipe, queue, count)
        pipe.execute()

    def acknowledge(self, queue: str, ended: Mapping[str, EncodedResult | None]) -> None:
        """Acknowledge messages of a queue, as Dramatiq does one, and store their results.

        Args:
            queue: The queue.
            ended: Ids of the messages in Redis, each with what is to be stored of its result.
        """
        results = [result for result in ended.values() if result]
        keys = [self._name_unacknowledged(queue), f"{self.namespace}:{queue}.msgs", *(item.key for item in results)]
        values = [value for item in results for value in (item.database, item.data, item.ttl_ms)]
        self._acknowledge(keys=keys, args=[len(ended), *ended, *values])

    def put_back_first(self, queue: str, redis_ids: Sequence[str]) -> int:
        """Put fetched messages back at the head of their queue, in this order, with a token for each.

        Returns:
            How many: one that has been acknowledged meanwhile is none of them.
        """
        name = f"{self.namespace}:{queue}"
        keys = [name, f"{name}.msgs", self._name_unacknowledged(queue), self.token_key(queue)]
        return int(self._put_back(keys=keys, args=[_MOST_TOKENS, *redis_ids]))

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Enqueue a message as `send_plainly` says.

        Args:
            message: It.
            delay: Earliest start, in milliseconds from now.

        Raises:
            BrokerUnavailable: Redis did not confirm it, and nothing else will send it.
        """
        was_recorded = RECORDED_OPTION in message.options
        queue = message.queue_name
        message = message.copy(options={"redis_message_id": str(uuid4())})
        if delay is not None:
            queue = dq_name(queue)
            message = message.copy(queue_name=queue, options={"eta": current_millis() + delay})
        self.emit_before("enqueue", message, delay)
        stored = (queue, message.options["redis_message_id"], message.encode())
        send_plainly(
            message,
            was_recorded=was_recorded,
            is_for_later=delay is not None,
            promptly=lambda: _translate(lambda: self._send_promptly([stored])),
            patiently=lambda: _translate(lambda: self.do_enqueue(*stored)),
        )
        self.emit_after("enqueue", message, delay)
        return message

    def close(self) -> None:
        """Close what this class has opened; a worker's connections end with their threads."""
        self.breaker.close()
        self.sender.close()
        super().close()

    def enqueue_promptly(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """As `enqueue_all`, but give up soon, and at once while Redis is known to be away.

        Raises:
            RedisError: Redis did not confirm them, or was not asked.
        """
        self._enqueue_all(messages, self._send_promptly)

    def enqueue_all(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """Enqueue messages that the ledger has, in one round trip."""
        self._enqueue_all(messages, self._send)

    def do_enqueue(self, queue: str, redis_id: str, data: bytes) -> None:
        """Store a message as Dramatiq does, and add a token."""
        self._send([(queue, redis_id, data)])

    def count_waiting(self, queue: str) -> int:
        """Return how many messages of a queue no worker has fetched yet."""
        return int(self.client.llen(f"{self.namespace}:{queue}"))

    def find_backlogged(self) -> list[str]:
        """Return the queues that have messages which no worker has fetched yet."""
        queues = sorted(self.get_declared_queues())
        pipe = self.client.pipeline(transaction=False)
        for queue in queues:
            pipe.llen(f"{self.namespace}:{queue}")
        return [queue for queue, count in zip(queues, pipe.execute(), strict=True) if count]

    def _enqueue_all(
        self, messages: Sequence[dramatiq.Message[Any]], send: Callable[[Sequence[_Stored]], None]
    ) -> None:
        for message in messages:
            self.declare_queue(message.queue_name)
        prepared = [message.copy(options={"redis_message_id": str(uuid4())}) for message in messages]
        for message in prepared:
            self.emit_before("enqueue", message, None)
        send([(item.queue_name, item.options["redis_message_id"], item.encode()) for item in prepared])
        for message in prepared:
            self.emit_after("enqueue", message, None)

    def _send_promptly(self, messages: Sequence[_Stored]) -> None:
        if self.breaker.is_open:
            raise redis.ConnectionError("Redis did not answer a moment ago.")
        try:
            # Hundreds together may take longer.
            with limit_request(self._send_timeout_s * max(1, len(messages) / 100)):
                self._send(messages, self.sender)
        except (redis.RedisError, OSError) as exc:
            self.breaker.note_failure(explain_redis(exc) or str(exc))
            raise

    def _send(self, messages: Sequence[_Stored], client: redis.Redis | None = None) -> None:
        """Store messages in one transaction: what Dramatiq's script stores, for all of a queue at once."""
        by_queue: dict[str, dict[Any, Any]] = {}
        for queue, redis_id, data in messages:
            by_queue.setdefault(queue, {})[redis_id] = data
        pipe = (client or self.client).pipeline(transaction=True)
        for queue, stored in by_queue.items():
            name = f"{self.namespace}:{queue}"
            pipe.hset(f"{name}.msgs", mapping=stored)
            pipe.rpush(name, *stored)
            self._add_tokens(pipe, queue, len(stored))
        pipe.execute()

    def _name_unacknowledged(self, queue: str) -> str:
        return f"{self.namespace}:__acks__.{self.broker_id}.{queue}"

    def _add_tokens(self, pipe: Any, queue: str, count: int) -> None:
        key = self.token_key(queue)
        pipe.rpush(key, *["1"] * min(count, _MOST_TOKENS))
        pipe.ltrim(key, 0, _MOST_TOKENS - 1)


def _translate(send: Callable[[], None]) -> None:
    try:
        send()
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not take messages.") from exc
