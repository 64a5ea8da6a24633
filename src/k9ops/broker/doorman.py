"""The thread of a worker process that hears of new messages, and gives back those that wait here in vain."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from queue import Empty
from typing import Any

import dramatiq
import redis

from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.config.logging import get_logger

_LOG = get_logger("k9ops.broker")

_LISTEN_S = 0.5
_LOOK_S = 0.5
_FULL_S = 0.1
_STUCK_S = 0.3
_AWAY_S = 1.0


class Doorman(dramatiq.Middleware):
    """Listens for all queues of the worker with one blocking command, while a thread is free.

    Stands first in the list, so that what it measures of a job is the whole of it.

    Args:
        client: A client that may wait longer for an answer than `_LISTEN_S`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._stopping = threading.Event()
        self._started_at = threading.local()
        self._thread: threading.Thread | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Say how many threads there are, before the first consumer fetches."""
        if isinstance(broker, K9opsRedisBroker):
            broker.capacity.begin(worker.worker_threads)

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to listen."""
        if isinstance(broker, K9opsRedisBroker):
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, args=(broker, worker), name="k9ops-doorman", daemon=True)
            self._thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Listen no more."""
        self._stopping.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Wait for the end of the thread, at most for one command's time, and forget the worker's threads."""
        if self._thread is not None:
            self._thread.join()
        if isinstance(broker, K9opsRedisBroker):
            broker.capacity.begin(None)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Note when the job began."""
        self._started_at.value = time.monotonic()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Note how long it took."""
        if isinstance(broker, K9opsRedisBroker):
            broker.capacity.note_duration(time.monotonic() - self._started_at.value)

    def _run(self, broker: K9opsRedisBroker, worker: dramatiq.Worker) -> None:
        while not self._stopping.is_set():
            try:
                if broker.capacity.is_full:
                    broker.capacity.wait_for_room(_FULL_S)
                else:
                    self._listen(broker, worker)
                if not self._stopping.is_set():
                    _give_back_waiting(broker, worker)
            except (redis.RedisError, OSError):
                # The consumers meet the same fault and say so.
                self._stopping.wait(_AWAY_S)
            except Exception:
                _LOG.exception("doorman.failed")
                self._stopping.wait(_AWAY_S)

    def _listen(self, broker: K9opsRedisBroker, worker: dramatiq.Worker) -> None:
        queues = {broker.token_key(queue): queue for queue in list(worker.consumers)}
        if not queues:
            self._stopping.wait(_LISTEN_S)
            return
        client: Any = self._client
        answer = client.blpop(list(queues), timeout=_LISTEN_S)
        if answer is None:
            return
        queue = queues[answer[0].decode()]
        if broker.capacity.is_full:
            broker.wake(queue)
            return
        # The next token is left to others until it is seen whether there is still a free thread here.
        gate = broker.find_gate(queue)
        gate.looked.clear()
        gate.bell.set()
        gate.looked.wait(_LOOK_S)


def _give_back_waiting(broker: K9opsRedisBroker, worker: dramatiq.Worker) -> None:
    """Give messages back that have waited while every thread of this process was busy with longer jobs."""
    with worker.work_queue.mutex:
        oldest_ns = min((item._queued_time for item in worker.work_queue.queue), default=None)
    if oldest_ns is None or time.monotonic_ns() - oldest_ns < _STUCK_S * 1e9:
        return
    broker.capacity.note_stuck()
    by_queue = defaultdict(list)
    while True:
        try:
            item = worker.work_queue.get_nowait()
        except Empty:
            break
        by_queue[item.message.queue_name].append(item)
    for queue, items in by_queue.items():
        try:
            consumer: Any = worker.consumers[queue].consumer
            consumer.give_back([item.message for item in items])
        except Exception:
            for item in items:
                worker.work_queue.put(item)
            raise
        finally:
            for _ in items:
                worker.work_queue.task_done()
