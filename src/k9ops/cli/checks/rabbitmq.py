"""Check of RabbitMQ as the broker."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.broker.build import build_broker
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.cli.checks.finding import Finding
from k9ops.config.settings import Settings


def check_rabbitmq(settings: Settings) -> Iterator[Finding]:
    """Check that RabbitMQ lets this user in; the canaries show whether it takes and gives messages.

    Raises:
        BrokerUnavailable: It does not answer, or refuses.
        SettingsInvalid: pika is not installed.
    """
    broker = build_broker(settings)
    if isinstance(broker, K9opsRedisBroker):
        return
    from k9ops.broker.rabbitmq_broker import read_version

    try:
        version = broker.ask(read_version)
        yield Finding("rabbitmq", "ok", f"RabbitMQ {version} on {broker.address}.")
    finally:
        broker.close()
