"""Middleware that gives every log line of a job its run, job and queue."""

from __future__ import annotations

import sys
from typing import Any

import dramatiq
import structlog

from k9ops.config.logging import configure_logging
from k9ops.config.settings import Settings


class LogContext(dramatiq.Middleware):
    """Binds the context before the job and clears it after, whatever happened between.

    In a worker process it also replaces the logging that Dramatiq set up by that of k9ops, on standard output.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        """Set up logging: Dramatiq has turned `sys.stdout` into a pipe to its master, which writes to stderr."""
        configure_logging(self._settings, stream=sys.__stdout__)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Bind what the message says; the recorder adds the attempt."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            run_id=message.message_id, job=message.actor_name, queue=message.queue_name
        )

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Clear the context of this thread."""
        structlog.contextvars.clear_contextvars()

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Clear the context of this thread."""
        structlog.contextvars.clear_contextvars()
