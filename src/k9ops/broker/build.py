"""Builds the broker of this process, with every middleware named."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import dramatiq
import redis
from dramatiq.middleware.time_limit import TimeLimit
from dramatiq.results.backend import ResultBackend
from redis.backoff import NoBackoff
from redis.retry import Retry

from k9ops.broker.doorman import Doorman
from k9ops.broker.jobs import DEFAULT_HARD_LIMIT_MS
from k9ops.broker.log_context import LogContext
from k9ops.broker.metrics import build_metrics
from k9ops.broker.prompt_connection import find_prompt_class
from k9ops.broker.recorder import RunRecorder
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.broker.results import OutcomeEncoder, RunResultBackend, RunResults
from k9ops.config.settings import Settings, get_settings
from k9ops.errors import SettingsInvalid

if TYPE_CHECKING:
    from k9ops.broker.rabbitmq_broker import K9opsRabbitmqBroker

_DAY_MS = 86_400_000
_HEARTBEAT_TIMEOUT_MS = 60_000
_MAINTENANCE_PER_MILLION = 80_000
_DEAD_LETTER_DAYS = 30
_RESULT_SOCKET_TIMEOUT_S = 120

_lock = threading.Lock()


def build_middleware(
    settings: Settings, results: ResultBackend | None, client: redis.Redis | None = None
) -> list[dramatiq.Middleware]:
    """Return the middleware in order: `before` hooks run from first to last, `after` hooks from last to first.

    The time limit stands last, so that it measures the job alone. Results stand before the recorder, so that a
    result can be read only when the ledger has it.

    Args:
        settings: The process's.
        results: Where results go; None keeps them in the ledger only.
        client: Of the broker's Redis, for waiting for new messages; None for a broker without Redis.
    """
    return [
        *([Doorman(client)] if client else []),
        *build_metrics(settings),
        LogContext(settings),
        *([RunResults(results, ttl_ms=settings.result_ttl_s * 1000, broker_client=client)] if results else []),
        RunRecorder(settings),
        TimeLimit(time_limit=DEFAULT_HARD_LIMIT_MS),
    ]


def build_redis_client(
    url: str, settings: Settings, *, socket_timeout_s: float, is_prompt: bool = False
) -> redis.Redis:
    """Return a client that never repeats a command by itself: a repeated enqueue would be a second message.

    Args:
        url: Of Redis.
        settings: The process's.
        socket_timeout_s: Longest wait for an answer.
        is_prompt: Whether it is for requests that a person waits for, and waits no longer for a connection either.

    Raises:
        SettingsInvalid: The file of `K9OPS_REDIS_CA_FILE` has no certificate.
    """
    client: redis.Redis = redis.Redis.from_url(
        url,
        socket_connect_timeout=socket_timeout_s if is_prompt else settings.connect_timeout_s,
        socket_timeout=socket_timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        **({"connection_class": find_prompt_class(url)} if is_prompt else {}),
        **_tls_options(url, settings),
    )
    return client


def _tls_options(url: str, settings: Settings) -> dict[str, str]:
    ca_file = settings.redis_ca_file
    if ca_file is None or not url.startswith("rediss:"):
        return {}
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as exc:  # ssl.SSLError is one
        reason = exc.strerror or "it is no certificate"
        raise SettingsInvalid(
            f"K9OPS_REDIS_CA_FILE = '{ca_file}': must be a file of certificates (PEM) that can be read; {reason}."
        ) from exc
    return {"ssl_ca_certs": str(ca_file)}


def build_broker(settings: Settings) -> K9opsRedisBroker | K9opsRabbitmqBroker:
    """Return a broker for the settings' Redis or RabbitMQ; nothing is connected yet.

    Raises:
        SettingsInvalid: RabbitMQ is named, and pika is not installed.
    """
    if settings.is_rabbitmq:
        return _build_rabbitmq_broker(settings)
    client = build_redis_client(settings.effective_broker_url, settings, socket_timeout_s=settings.connect_timeout_s)
    return K9opsRedisBroker(
        client=client,
        sender=build_redis_client(
            settings.effective_broker_url, settings, socket_timeout_s=settings.send_timeout_s, is_prompt=True
        ),
        send_timeout_s=settings.send_timeout_s,
        middleware=build_middleware(settings, _build_results(settings), client),
        heartbeat_timeout=_HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=_MAINTENANCE_PER_MILLION,
        dead_message_ttl=_DEAD_LETTER_DAYS * _DAY_MS,
    )


def _build_rabbitmq_broker(settings: Settings) -> K9opsRabbitmqBroker:
    try:
        from k9ops.broker.rabbitmq_broker import K9opsRabbitmqBroker
    except ImportError as exc:
        raise SettingsInvalid(
            "K9OPS_BROKER_URL names RabbitMQ, for which `k9ops[rabbitmq]` must be installed."
        ) from exc
    results = _build_results(settings) if settings.result_url.get_secret_value() else None
    return K9opsRabbitmqBroker(
        settings.effective_broker_url,
        middleware=build_middleware(settings, results),
        connect_timeout_s=settings.connect_timeout_s,
        send_timeout_s=settings.send_timeout_s,
    )


def _build_results(settings: Settings) -> RunResultBackend:
    client = build_redis_client(settings.effective_result_url, settings, socket_timeout_s=_RESULT_SOCKET_TIMEOUT_S)
    return RunResultBackend(client=client, encoder=OutcomeEncoder())


def install_broker() -> dramatiq.Broker:
    """Make the broker of the settings this process's broker, unless one of k9ops is installed already.

    A test or an application installs its own by `dramatiq.set_broker` before it imports `k9ops.actors`; it must have
    a `RunRecorder`.
    """
    with _lock:
        current = dramatiq.broker.global_broker
        if current is not None and any(isinstance(item, RunRecorder) for item in current.middleware):
            return current
        broker = build_broker(get_settings())
        dramatiq.set_broker(broker)
        return broker
