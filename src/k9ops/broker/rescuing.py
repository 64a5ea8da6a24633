"""Puts the runs of dead workers back, ends those that are too late, and says so in the log."""

from __future__ import annotations

from sqlalchemy import Engine

from k9ops.config.logging import get_logger
from k9ops.ledger.model import Run
from k9ops.ledger.rescue import expire_late_runs, rescue_lost_runs

_LOG = get_logger("k9ops.broker")


def rescue_runs(engine: Engine, *, lease_s: float) -> tuple[list[Run], list[Run]]:
    """Rescue and expire.

    Args:
        engine: The ledger's database.
        lease_s: As of `rescue_lost_runs`.

    Returns:
        The runs that were rescued, and those that have expired, as they are now.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    rescued = rescue_lost_runs(engine, lease_s=lease_s)
    for run in rescued:
        _LOG.warning(
            "run.rescued",
            run_id=str(run.id),
            job=run.job,
            deaths=run.deaths,
            state=run.state,
            attempt=run.attempt,
        )
    expired = expire_late_runs(engine)
    for run in expired:
        _LOG.warning("run.expired", run_id=str(run.id), job=run.job, due_at=run.due_at.isoformat())
    return rescued, expired
