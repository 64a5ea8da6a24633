"""Logging: structlog for k9ops, and every other library through the same formatter."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from k9ops.config.settings import Settings

_URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):([^@/\s]+)@")
# As in the query of a URL, or in a connection string of libpq.
_NAMED_PASSWORD = re.compile(r"(?i)\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)")

# Dramatiq logs each failure with its traceback; the ledger's own events carry it already.
_QUIET = {
    "pika": logging.CRITICAL,  # whoever called it says what went wrong
    "dramatiq.worker.WorkerThread": logging.CRITICAL,
    "dramatiq.middleware.prometheus": logging.ERROR,
    "alembic": logging.WARNING,
    # They log addresses, and the address of an upload is a secret.
    "urllib3": logging.ERROR,
    "google": logging.WARNING,
    "googleapiclient": logging.WARNING,
}


def mask_passwords(text: str) -> str:
    """Replace the password of every URL and connection string in a text."""
    return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


def _mask_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _mask(value)
    return event


def _mask(value: Any) -> Any:
    if isinstance(value, str):
        return mask_passwords(value)
    if isinstance(value, Mapping):
        return {name: _mask(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(item) for item in value]
    return value


_listener: contextvars.ContextVar[Callable[[MutableMapping[str, Any]], None] | None] = contextvars.ContextVar(
    "k9ops_log_listener", default=None
)


def listen_to_log(listener: Callable[[MutableMapping[str, Any]], None] | None) -> None:
    """Tell what this thread logs from now on, of any library, also to a listener; None ends that."""
    _listener.set(listener)


def _tell_listener(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    listener = _listener.get()
    if listener is not None:
        with contextlib.suppress(Exception):  # a line that cannot be kept must not fail the job that logs it
            listener(event)
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    _tell_listener,
]


def configure_logging(settings: Settings, *, stream: Any = None) -> None:
    """Send all logs of the process to one stream, one event a line.

    Args:
        settings: `log_level` and `log_format` are used.
        stream: Text stream; None is standard output.
    """
    out = stream or sys.stdout
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not out.isatty())
    tail: list[Any] = (
        [
            structlog.processors.format_exc_info,
            _mask_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if as_json
        else [_mask_event, structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="at")]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger of k9ops; `name` is the room, e.g. `k9ops.ledger`.

    It writes through the standard library, whatever an application that imports k9ops does with structlog.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    ).bind()  # once, not at every event
    return logger
