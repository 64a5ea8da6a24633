"""Jobs of the queue `notifications`."""

from __future__ import annotations

import dramatiq

from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome
from k9ops.upkeep import notifications


@dramatiq.actor(
    actor_name="clean_notifications",
    queue_name="notifications",
    priority=90,
    max_retries=4,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=1_500_000,
    time_limit=1_800_000,
)
def clean_notifications(*, slot: str | None = None, dry_run: bool = False) -> Outcome:
    """Delete read notifications that are older than the retention.

    Args:
        slot: Due moment, ISO 8601 with offset: ages are counted from it.
        dry_run: Only count.
    """
    return notifications.clean_notifications(
        get_settings(), get_engine(), execution=current_execution(), slot=slot, dry_run=dry_run
    )
