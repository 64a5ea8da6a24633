"""One connection to RabbitMQ, in a thread of its own: pika's are for one thread only, and wait without end."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pika
import pika.exceptions

from k9ops.broker.rabbitmq_problems import rabbitmq_unavailable
from k9ops.errors import BrokerUnavailable

_T = TypeVar("_T")

Channel = Any
_Action = tuple[Callable[[Channel], Any], "Future[Any]"]

_IDLE_S = 5.0


class RabbitmqLink:
    """Carries out actions on a channel whose messages RabbitMQ confirms, one after the other, in limited time.

    The connection is made on first use, kept alive while there is nothing to do, and made again after a fault. A
    forked child has one of its own.

    Args:
        parameters: As pika takes them: those of one node or of several, tried in order.
    """

    def __init__(self, parameters: Any) -> None:
        self._parameters = parameters
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def call(self, action: Callable[[Channel], _T], *, timeout_s: float) -> _T:
        """Carry out an action, twice when the connection turns out to have ended meanwhile.

        Raises:
            BrokerUnavailable: RabbitMQ refuses, or has not done it in time; it may do it all the same.
        """
        with self._lock:
            if self._worker is None or self._worker.pid != os.getpid():
                self._worker = _Worker(self._parameters)
            worker = self._worker
        future: Future[_T] = Future()
        worker.actions.put((action, future))
        try:
            return future.result(timeout_s)
        except TimeoutError as exc:
            # Whatever it waits for, the next action does not wait behind it.
            self._leave(worker)
            raise BrokerUnavailable("RabbitMQ does not answer in time.") from exc
        except (pika.exceptions.AMQPError, OSError) as exc:
            raise rabbitmq_unavailable(exc) from exc

    def close(self) -> None:
        """End the thread and its connection."""
        worker = self._worker
        if worker is not None and worker.pid == os.getpid():
            self._leave(worker)
            worker.thread.join(_IDLE_S)

    def _leave(self, worker: _Worker) -> None:
        with self._lock:
            if self._worker is worker:
                self._worker = None
        worker.actions.put(None)


class _Worker:
    def __init__(self, parameters: Any) -> None:
        self.pid = os.getpid()
        self.actions: queue.SimpleQueue[_Action | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="k9ops-rabbitmq", daemon=True)
        self._parameters = parameters
        self._connection: Any = None
        self._channel: Channel = None
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                item = self.actions.get(timeout=_IDLE_S)
            except queue.Empty:
                self._keep_alive()
                continue
            if item is None:
                self._close()
                return
            action, future = item
            try:
                future.set_result(self._carry_out(action))
            except BaseException as exc:
                future.set_exception(exc)

    def _carry_out(self, action: Callable[[Channel], _T]) -> _T:
        is_fresh = self._channel is None
        try:
            return action(self._open())
        except pika.exceptions.AMQPError:
            self._close()
            if is_fresh:
                raise
        try:
            return action(self._open())
        except pika.exceptions.AMQPError:
            self._close()
            raise

    def _open(self) -> Channel:
        if self._channel is None:
            self._connection = pika.BlockingConnection(self._parameters)
            channel = self._connection.channel()
            channel.confirm_delivery()
            self._channel = channel
        return self._channel

    def _keep_alive(self) -> None:
        if self._connection is not None:
            try:
                self._connection.process_data_events(0)
            except (pika.exceptions.AMQPError, OSError):
                self._close()

    def _close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()
