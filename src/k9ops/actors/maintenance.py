"""Jobs that keep the service itself going."""

from __future__ import annotations

import os
import socket

import dramatiq

from k9ops.config.settings import get_settings
from k9ops.outcome import Outcome


@dramatiq.actor(
    actor_name="canary",
    queue_name=get_settings().default_queue,
    priority=0,
    max_retries=0,
    soft_limit=60_000,
    time_limit=60_000,
    max_lateness=300_000,
    is_inline_safe=True,
)
def canary() -> Outcome:
    """Prove that a worker takes messages: it says which one did."""
    evidence = {"host": socket.gethostname(), "pid": os.getpid()}
    return Outcome("succeeded", f"A worker on {evidence['host']} answered.", evidence)
