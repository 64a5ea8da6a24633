"""Jobs that keep the service itself going."""

from __future__ import annotations

import dramatiq

from k9ops.broker import maintenance
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome

_QUEUE = get_settings().default_queue


@dramatiq.actor(
    actor_name="canary",
    queue_name=_QUEUE,
    is_audited=False,
    priority=0,
    max_retries=0,
    soft_limit=60_000,
    time_limit=60_000,
    max_lateness=300_000,
    is_inline_safe=True,
)
def canary() -> Outcome:
    """Prove that a worker takes messages: it says which one did."""
    return maintenance.answer(get_engine())


@dramatiq.actor(
    actor_name="relay_outbox",
    queue_name=_QUEUE,
    is_audited=False,
    priority=0,
    max_retries=3,
    min_backoff=5_000,
    max_backoff=60_000,
    soft_limit=60_000,
    time_limit=60_000,
)
def relay_outbox() -> Outcome:
    """Send the messages of runs that wait in the outbox."""
    return maintenance.relay(get_settings(), get_engine(), relay_outbox.broker)


@dramatiq.actor(
    actor_name="rescue_runs",
    queue_name=_QUEUE,
    is_audited=False,
    priority=0,
    max_retries=0,
    soft_limit=60_000,
    time_limit=60_000,
)
def rescue_runs() -> Outcome:
    """Put the runs of dead workers back, and end those that are too late."""
    return maintenance.rescue(get_settings(), get_engine())


@dramatiq.actor(
    actor_name="prune_runs",
    queue_name=_QUEUE,
    priority=0,
    max_retries=3,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=600_000,
    time_limit=660_000,
)
def prune_runs() -> Outcome:
    """Delete old runs from the ledger."""
    return maintenance.prune(get_settings(), get_engine(), execution=current_execution())
