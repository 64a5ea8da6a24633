"""Jobs of the queue `schedules`."""

from __future__ import annotations

import dramatiq

from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome
from k9ops.upkeep import schedules


@dramatiq.actor(
    actor_name="lock_schedules",
    queue_name="schedules",
    priority=10,
    max_retries=4,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=1_500_000,
    time_limit=1_800_000,
    is_inline_safe=True,
    fallback="inline",
)
def lock_schedules(*, slot: str | None = None, dry_run: bool = False) -> Outcome:
    """Lock every open schedule that is dated before the slot's local day.

    Args:
        slot: Due moment, ISO 8601 with offset.
        dry_run: Only list.
    """
    return schedules.lock_schedules(
        get_settings(), get_engine(), execution=current_execution(), slot=slot, dry_run=dry_run
    )
