"""A consumer of Dramatiq's Redis queues that is woken, where Dramatiq's own looks again and again."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
from dramatiq.brokers.redis import _RedisConsumer
from dramatiq.errors import ConnectionClosed, DecodeError

from k9ops.config.logging import get_logger

if TYPE_CHECKING:
    from k9ops.broker.redis_broker import K9opsRedisBroker

_LOG = get_logger("k9ops.broker")

# In units of Dramatiq's worker time-out, 1 s by default: how often a queue is looked at although nothing woke its
# consumer. That catches a wake-up that was lost.
_POLL_TIMEOUTS = 4
_DELAY_POLL_TIMEOUTS = 8
_SWEEP_S = 0.5
_TURN_S = 0.02


class Gate:
    """Between the thread that hears of new messages and the consumer that fetches them.

    Attributes:
        bell: Set when the consumer should look.
        looked: Set whenever it has.
    """

    def __init__(self) -> None:
        self.bell = threading.Event()
        self.looked = threading.Event()


class WokenConsumer(_RedisConsumer):
    """Fetches when its bell rings, when there is room again, and now and then without a reason.

    What is stored in Redis, and how it is fetched, acknowledged and put back, is Dramatiq's.
    """

    def __init__(self, broker: K9opsRedisBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._is_delay_queue = queue_name.endswith(".DQ")
        self._capacity = broker.capacity
        self._gate = broker.find_gate(queue_name)
        self._timeout_s = timeout / 1000
        self._poll_s = self._timeout_s * (_DELAY_POLL_TIMEOUTS if self._is_delay_queue else _POLL_TIMEOUTS)
        self._poll_at_s = 0.0
        self._acknowledger = broker.find_acknowledger(queue_name)
        self._low_mark = prefetch // 2

    def __next__(self) -> dramatiq.MessageProxy | None:
        """Return a message; None when there is none for now, so that the caller can see to other things."""
        try:
            message = self._take_fetched()
            if message is None and self._is_time_to_look():
                self._fetch()
                message = self._take_fetched()
        except (redis.ConnectionError, redis.TimeoutError) as exc:
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]
        if message is None:
            self._wait()
        return message

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """Acknowledge a message and store its result, or leave that to a thread that is doing so for others.

        Asked again after a lost connection, which Redis takes as the same.
        """
        self._give_up(message, self._acknowledge)

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """Make a message a dead letter."""
        self._give_up(message, super().nack)

    def requeue(self, messages: Any) -> None:
        """Put messages back at the end of their queue, and wake whoever can take them."""
        given = list(messages)
        try:
            super().requeue(given)  # type: ignore[no-untyped-call]
        except redis.RedisError as exc:
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]
        self._leave(len(given))
        if given:
            with contextlib.suppress(redis.RedisError):
                self.broker.wake(self.queue_name, len(given))

    def give_back(self, messages: list[dramatiq.MessageProxy]) -> None:
        """Put messages that no thread here has begun back at the head of their queue, and wake who can take them."""
        self.broker.put_back_first(self.queue_name, [message.options["redis_message_id"] for message in messages])
        for message in messages:
            self.queued_message_ids.discard(message.message_id)
        self._leave(len(messages))

    def close(self) -> None:
        """Acknowledge what could not be before, and put back what was fetched and never handed out."""
        with contextlib.suppress(redis.RedisError):
            self._acknowledger.flush()
        unread, self.message_cache = self.message_cache, []
        decoded = []
        for data in unread:
            try:
                decoded.append(dramatiq.Message.decode(data))
            except (DecodeError, TypeError):
                self._leave(1)
        try:
            self.requeue(decoded)
        except ConnectionClosed:
            self._leave(len(decoded))
            raise

    def _is_time_to_look(self) -> bool:
        if time.monotonic() >= self._poll_at_s:
            return True
        if self._gate.bell.is_set() and self.outstanding_message_count > self._low_mark and self._capacity.is_full:
            # Rung before the last fetch had brought enough; it is rung again when there is less.
            self._gate.bell.clear()
            self._gate.looked.set()
        return self._gate.bell.is_set()

    def _fetch(self) -> None:
        self._gate.bell.clear()
        wanted = max(0, self.prefetch - self.outstanding_message_count)
        granted = wanted if self._is_delay_queue else self._capacity.reserve(self.queue_name, wanted)
        fetched: list[bytes] = []
        try:
            if granted:
                fetched = self.broker.do_fetch(self.queue_name, granted)
                self.message_cache = fetched
        finally:
            if granted and not self._is_delay_queue:
                self._capacity.settle(self.queue_name, granted, len(fetched))
            self._gate.looked.set()
        is_refused = bool(wanted) and not granted and not self._capacity.is_full
        self._poll_at_s = time.monotonic() + (_TURN_S if is_refused else self._poll_s)

    def _take_fetched(self) -> dramatiq.MessageProxy | None:
        while self.message_cache:
            data = self.message_cache.pop(0)
            try:
                message: Any = dramatiq.Message.decode(data)
            except (DecodeError, TypeError) as exc:
                # It stays among the unacknowledged, where a person can find it; those behind it go on.
                _LOG.error("message.rejected", queue=self.queue_name, problem=str(exc))
                self._leave(1)
                continue
            self.queued_message_ids.add(message.message_id)
            return dramatiq.MessageProxy(message)
        return None

    def _wait(self) -> None:
        longest_s = min(self._timeout_s, self._poll_at_s - time.monotonic())
        if self._is_delay_queue and self.queued_message_ids:
            longest_s = min(longest_s, _SWEEP_S)
        if longest_s > 0:
            self._gate.bell.wait(longest_s)

    def _acknowledge(self, message: dramatiq.MessageProxy) -> None:
        try:
            self._acknowledger(message.options["redis_message_id"], getattr(message, "encoded_result", None))
        except redis.ConnectionError as exc:
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]
        finally:
            self.queued_message_ids.discard(message.message_id)

    def _give_up(self, message: dramatiq.MessageProxy, action: Any) -> None:
        try:
            action(message)
        except redis.TimeoutError as exc:
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]
        except ConnectionClosed:
            raise
        except BaseException:
            self._leave(1)
            raise
        self._leave(1)

    def _leave(self, count: int) -> None:
        if self._is_delay_queue:
            return
        if self._capacity.release(count):
            self.broker.ring_all()
        elif self.outstanding_message_count <= self._low_mark:
            self._gate.bell.set()
