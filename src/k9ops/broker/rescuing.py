"""Puts the runs of dead workers back, ends those that are too late, and says so in the log."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.ledger.model import Run
from k9ops.ledger.rescue import expire_late_runs, find_lost_claims, rescue_lost_runs

_LOG = get_logger("k9ops.broker")

_LEAST_DOUBT_PART = 0.15
_RENEWAL_ROUNDS = 1.5


class Rescuer:
    """Looks for lost runs again and again, and rescues those that it has found for a while.

    Args:
        engine: The ledger's database.
        settings: How long leases hold, and how often their holders look after them.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._lease_s = settings.lease_s
        self._found_at_s: dict[str, float] = {}
        #: A claim that is found again after so many seconds is lost.
        self.doubt_s = max(settings.lease_s * _LEAST_DOUBT_PART, settings.relay_interval_s * _RENEWAL_ROUNDS)

    @property
    def has_suspects(self) -> bool:
        """Whether the last look found a claim that may be lost."""
        return bool(self._found_at_s)

    def look(self) -> list[Run]:
        """Look once.

        Returns:
            The runs that were rescued, as they are now.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        begun_s = time.monotonic()
        found = find_lost_claims(self._engine, lease_s=self._lease_s)
        lost = [owner for owner in found if self._found_at_s.get(owner, begun_s) <= begun_s - self.doubt_s]
        rescued = rescue_lost_runs(self._engine, lost, lease_s=self._lease_s) if lost else []
        found_at_s = time.monotonic()
        self._found_at_s = {owner: self._found_at_s.get(owner, found_at_s) for owner in found if owner not in lost}
        for run in rescued:
            _LOG.warning(
                "run.rescued",
                run_id=str(run.id),
                job=run.job,
                deaths=run.deaths,
                state=run.state,
                attempt=run.attempt,
            )
        return rescued


def expire_runs(engine: Engine) -> list[Run]:
    """End the runs that have not started by their latest moment, and return them.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    expired = expire_late_runs(engine)
    for run in expired:
        _LOG.warning("run.expired", run_id=str(run.id), job=run.job, due_at=run.due_at.isoformat())
    return expired
