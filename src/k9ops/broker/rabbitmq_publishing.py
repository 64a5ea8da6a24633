"""How messages reach RabbitMQ so that they are there: each is confirmed, one by one or many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pika
import pika.exceptions

from k9ops.broker.rabbitmq_link import Channel

#: Queue, body.
Publication = tuple[str, bytes]


def publish_one(channel: Channel, queue: str, body: bytes) -> None:
    """Publish a message.

    Raises:
        UnroutableError: On a channel that confirms: there is no such queue.
    """
    channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def publish_together(channel: Channel, messages: Sequence[Publication]) -> list[Publication]:
    """Publish on a channel of their own, wait until RabbitMQ has confirmed each, and return what has no queue.

    pika's blocking channel would wait after each, for a round trip and for the disk; so its confirmations are read
    from the channel beneath. A transaction is no way: when the node of a queue's leader is lost, RabbitMQ ends it
    well without the messages (https://github.com/rabbitmq/rabbitmq-server/issues/8966).

    Raises:
        AMQPError: One of them is refused, or the connection has ended.
    """
    together = channel.connection.channel()
    confirmations = _Confirmations(together)
    for queue, body in messages:
        confirmations.expect()
        publish_one(together, queue, body)
    confirmations.wait()
    together.close()
    return confirmations.returned


class _Confirmations:
    """What RabbitMQ says of the messages of a channel."""

    def __init__(self, channel: Channel) -> None:
        self.returned: list[Publication] = []
        self._channel = channel
        self._expected = 0
        self._open: set[int] = set()
        self._is_refused = False
        self._is_on = False
        beneath = channel._impl
        beneath.add_on_return_callback(lambda _, method, properties, body: self._note_return(method, body))
        beneath.confirm_delivery(ack_nack_callback=self._note, callback=self._note_start)
        channel._flush_output(lambda: self._is_on)

    def expect(self) -> None:
        """Await the confirmation of one more message: RabbitMQ counts them from 1."""
        self._expected += 1
        self._open.add(self._expected)

    def wait(self) -> None:
        """Wait until nothing is open.

        Raises:
            AMQPError: One of them is refused, or the connection has ended.
        """
        self._channel._flush_output(lambda: self._is_refused or not self._open)
        if self._is_refused:
            raise pika.exceptions.NackError([])
        if self._open:
            raise pika.exceptions.ChannelWrongStateError("The channel ended before all was confirmed.")

    def _note_start(self, frame: Any) -> None:
        self._is_on = True

    def _note_return(self, method: Any, body: bytes) -> None:
        self.returned.append((method.routing_key, body))

    def _note(self, frame: Any) -> None:
        method = frame.method
        self._is_refused = self._is_refused or isinstance(method, pika.spec.Basic.Nack)
        if method.multiple:
            self._open = {tag for tag in self._open if tag > method.delivery_tag}
        else:
            self._open.discard(method.delivery_tag)
