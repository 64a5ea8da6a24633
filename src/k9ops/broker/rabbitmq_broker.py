"""Dramatiq's RabbitMQ broker with quorum queues and confirmed messages, for the same ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import current_millis, dq_name, q_name, xq_name

from k9ops.broker.breaker import CircuitBreaker
from k9ops.broker.plain_sending import RECORDED_OPTION, send_plainly
from k9ops.broker.queue_messages import DeadLetter, QueueMessages, read_dead_letter
from k9ops.broker.rabbitmq_address import read_nodes
from k9ops.broker.rabbitmq_link import Channel, RabbitmqLink
from k9ops.broker.rabbitmq_publishing import Publication, publish_one, publish_together
from k9ops.errors import BrokerUnavailable

_DEAD_LETTER_MS = 30 * 86_400_000
_HEARTBEAT_S = 30
_BATCH_LIMIT_S = 60.0


class K9opsRabbitmqBroker(RabbitmqBroker):
    """Dramatiq's RabbitMQ broker; a message is the same, and so are the names of the queues.

    Queues are quorum queues, so that a cluster keeps them when a node is lost; they know no priorities. All but the
    consumers goes through one connection of the process.

    Args:
        url: `amqp://` or `amqps://`; several nodes with `;` between.
        middleware: All of it.
        connect_timeout_s: Longest wait for a connection, or for an answer.
        send_timeout_s: Longest wait of a request that a person waits for.

    Attributes:
        breaker: Of the requests of this process.

    Raises:
        SettingsInvalid: As `read_nodes` says.
    """

    def __init__(
        self, url: str, *, middleware: list[dramatiq.Middleware], connect_timeout_s: float, send_timeout_s: float
    ) -> None:
        super().__init__(confirm_delivery=True, middleware=middleware)
        nodes = self.parameters = read_nodes(url)
        for node in nodes:
            node.socket_timeout = node.stack_timeout = node.blocked_connection_timeout = connect_timeout_s
            node.heartbeat = _HEARTBEAT_S
        self.address = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        self._connect_timeout_s = connect_timeout_s
        self._send_timeout_s = send_timeout_s
        self._link = RabbitmqLink(self.parameters)
        self.breaker = CircuitBreaker(lambda: self.ask(_do_nothing))

    def ask(self, action: Callable[[Channel], Any]) -> Any:
        """Carry out an action on a channel.

        Raises:
            BrokerUnavailable: RabbitMQ refuses, or does not answer.
        """
        return self._link.call(action, timeout_s=self._connect_timeout_s * 2)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Enqueue a message as `send_plainly` says.

        Args:
            message: It.
            delay: Earliest start, in milliseconds from now.

        Raises:
            BrokerUnavailable: RabbitMQ did not confirm it, and nothing else will send it.
        """
        was_recorded = RECORDED_OPTION in message.options
        queue = message.queue_name
        if delay is not None:
            queue = dq_name(queue)
            message = message.copy(queue_name=queue, options={"eta": current_millis() + delay})
        self.emit_before("enqueue", message, delay)
        encoded = [(queue, message.encode())]
        send_plainly(
            message,
            was_recorded=was_recorded,
            is_for_later=delay is not None,
            promptly=lambda: self._publish_promptly(encoded),
            patiently=lambda: self._publish(encoded, timeout_s=self._connect_timeout_s * 2),
        )
        self.emit_after("enqueue", message, delay)
        return message

    def enqueue_promptly(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """As `enqueue_all`, but give up soon, and at once while RabbitMQ is known to be away.

        Raises:
            BrokerUnavailable: RabbitMQ did not confirm them, or was not asked.
        """
        self._enqueue_all(messages, self._publish_promptly)

    def enqueue_all(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """Enqueue messages that the ledger has.

        Raises:
            BrokerUnavailable: RabbitMQ did not confirm them; it may have some or all of them.
        """
        self._enqueue_all(messages, partial(self._publish, timeout_s=_BATCH_LIMIT_S))

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Return a consumer of a queue, which is made when it is not there."""
        self.declare_queue(queue_name, ensure=True)
        consumer: dramatiq.Consumer = self.consumer_class(self, queue_name, prefetch, timeout)
        return consumer

    def count_messages(self, queues: Sequence[str]) -> list[QueueMessages]:
        """Count the messages of queues; RabbitMQ's protocol does not say how many workers hold.

        Raises:
            BrokerUnavailable: RabbitMQ does not answer.
        """
        found = []
        for queue in queues:
            waiting, delayed, dead = self.ask(partial(self._count, queue))
            found.append(QueueMessages(queue, waiting, delayed, None, dead))
        return found

    def find_backlogged(self) -> list[str]:
        """Return the queues that have messages which no worker has fetched yet."""
        return [item.queue for item in self.count_messages(sorted(self.get_declared_queues())) if item.waiting]

    def list_dead_letters(self, queues: Sequence[str], *, limit: int) -> list[DeadLetter]:
        """Return dead letters, the oldest of each queue first; they are fetched to be read, and given back.

        Raises:
            BrokerUnavailable: RabbitMQ does not answer.
        """
        letters: list[DeadLetter] = []
        for queue in queues:
            letters += self.ask(partial(self._read_dead_letters, queue, limit))
        return letters

    def close(self) -> None:
        """Close what this process has opened."""
        self.breaker.close()
        self._link.close()
        super().close()

    def _enqueue_all(
        self, messages: Sequence[dramatiq.Message[Any]], publish: Callable[[Sequence[Publication]], None]
    ) -> None:
        for message in messages:
            self.declare_queue(message.queue_name)
            self.emit_before("enqueue", message, None)
        publish([(message.queue_name, message.encode()) for message in messages])
        for message in messages:
            self.emit_after("enqueue", message, None)

    def _publish_promptly(self, messages: Sequence[Publication]) -> None:
        if self.breaker.is_open:
            raise BrokerUnavailable("RabbitMQ did not answer a moment ago.")
        try:
            # What is sent together may take longer: RabbitMQ confirms each.
            self._publish(messages, timeout_s=self._send_timeout_s * (1 + len(messages) / 100))
        except BrokerUnavailable as exc:
            self.breaker.note_failure(exc.user_message)
            raise

    def _publish(self, messages: Sequence[Publication], *, timeout_s: float) -> None:
        def publish(channel: Channel) -> None:
            for queue in {q_name(queue) for queue, _ in messages} & self.queues_pending:
                self._make_queue(channel, queue)
            left = messages if len(messages) == 1 else publish_together(channel, messages)
            for queue, body in left:
                try:
                    publish_one(channel, queue, body)
                except pika.exceptions.UnroutableError:
                    # It was deleted since: it is made again, for this message too.
                    self._make_queue(channel, q_name(queue))
                    publish_one(channel, queue, body)

        self._link.call(publish, timeout_s=timeout_s)

    def _ensure_queue(self, canonical_queue_name: str) -> None:
        try:
            self.ask(lambda channel: self._make_queue(channel, canonical_queue_name))
        except BrokerUnavailable as exc:
            raise dramatiq.ConnectionClosed(exc.user_message) from exc  # type: ignore[no-untyped-call]

    def _make_queue(self, channel: Channel, queue: str) -> None:
        for name in (queue, dq_name(queue)):
            arguments = {
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": xq_name(name),
            }
            channel.queue_declare(name, durable=True, arguments=arguments)
        kept = {"x-queue-type": "quorum", "x-message-ttl": _DEAD_LETTER_MS}
        channel.queue_declare(xq_name(queue), durable=True, arguments=kept)
        self.queues_pending.discard(queue)

    def _count(self, queue: str, channel: Channel) -> tuple[int, ...]:
        self._make_queue(channel, queue)
        names = (queue, dq_name(queue), xq_name(queue))
        return tuple(channel.queue_declare(name, passive=True).method.message_count for name in names)

    def _read_dead_letters(self, queue: str, limit: int, channel: Channel) -> list[DeadLetter]:
        self._make_queue(channel, queue)
        letters: list[DeadLetter] = []
        tags = []
        while len(letters) < limit:
            method, properties, body = channel.basic_get(xq_name(queue))
            if method is None:
                break
            tags.append(method.delivery_tag)
            deaths = (properties.headers or {}).get("x-death") or [{}]
            letters.append(read_dead_letter(body, queue, deaths[0].get("time")))
        for tag in tags:
            channel.basic_nack(tag, requeue=True)
        return letters


def read_version(channel: Channel) -> str:
    """Return the version that a server has told of itself."""
    return str(channel.connection._impl.server_properties.get("version", "of unknown version"))


def _do_nothing(channel: Channel) -> None:
    channel.connection.process_data_events(0)
