"""A thread in every worker process that keeps the promises of the ledger, independent of any scheduler."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

import dramatiq

from k9ops.broker.overdue import OverdueRuns
from k9ops.broker.rescuing import rescue_runs
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable
from k9ops.ledger.claims import renew_leases
from k9ops.ledger.execution import ActiveRun
from k9ops.ledger.run_log import store_logs

_LOG = get_logger("k9ops.broker")

# With leases of 10 s, the runs of a killed worker run again within 13 s.
_RENEWAL_PART = 1 / 3
_RESCUE_PART = 1 / 6


class Keeper(threading.Thread):
    """Renews this process's leases, sends what is due, puts the runs of dead workers back, and ends what does not stop.

    Args:
        settings: Lease and intervals.
        broker: Where due runs are sent; None only renews leases, for a process that is no worker.
        report: Says in the ledger that this worker is there; called about as often as leases are renewed.
    """

    def __init__(
        self, settings: Settings, *, broker: dramatiq.Broker | None, report: Callable[[], None] | None = None
    ) -> None:
        super().__init__(name="k9ops-keeper", daemon=True)
        self._settings = settings
        self._broker = broker
        self._report = report
        self._overdue = OverdueRuns(broker) if broker is not None else None
        self._active: dict[uuid.UUID, ActiveRun] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_database_away = False
        self._is_broker_away = False
        self._rescue_not_before_s = 0.0
        self._next_rescue_s = 0.0

    def add(self, active: ActiveRun) -> None:
        """Renew this run's lease from now on."""
        with self._lock:
            self._active[active.claim.run.id] = active

    def remove(self, active: ActiveRun) -> None:
        """Stop renewing this run's lease."""
        with self._lock:
            if self._active.get(active.claim.run.id) is active:
                del self._active[active.claim.run.id]

    def request_stop_of_all(self, reason: str) -> None:
        """Ask every job of this process to stop."""
        for active in self._snapshot():
            active.request_stop(reason)

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Work until stopped; an error of one round is logged and the next round tried."""
        next_renewal_s = 0.0
        while not self._stopped.wait(self._settings.relay_interval_s):
            try:
                if self._overdue is not None:
                    self._overdue.look_after(self._snapshot())
                is_renewal_due = time.monotonic() >= next_renewal_s
                self._renew(also_without_progress=is_renewal_due)
                self._store_logs()
                if is_renewal_due:
                    next_renewal_s = time.monotonic() + self._settings.lease_s * _RENEWAL_PART
                    self._report_alive()
                if self._broker is not None:
                    self._look_after_ledger(self._broker, is_thorough=is_renewal_due)
                if self._is_database_away:
                    _LOG.info("ledger.reachable")
                self._is_database_away = False
                if self._is_broker_away:
                    _LOG.info("broker.reachable")
                self._is_broker_away = False
            except DatabaseUnavailable as exc:
                # Leases ran out while nobody could renew them: their holders get the time of one lease to do so.
                self._rescue_not_before_s = time.monotonic() + self._settings.lease_s
                next_renewal_s = 0.0
                if not self._is_database_away:
                    _LOG.warning("ledger.unreachable", problem=exc.user_message)
                self._is_database_away = True
            except BrokerUnavailable as exc:
                if not self._is_broker_away:
                    _LOG.warning("broker.unreachable", problem=exc.user_message)
                self._is_broker_away = True
            except Exception:
                _LOG.exception("keeper.failed")

    def _renew(self, *, also_without_progress: bool) -> None:
        held = [(active, active.take_progress()) for active in self._snapshot()]
        if not also_without_progress:
            held = [(active, progress) for active, progress in held if progress]
        if not held:
            return
        held_until_s = time.monotonic() + self._settings.lease_s
        renewed = renew_leases(
            get_engine(),
            [(active.claim, progress) for active, progress in held],
            lease_s=self._settings.lease_s,
        )
        for active, _ in held:
            is_cancelled = renewed.get(active.claim.run.id)
            if is_cancelled is None:
                active.request_stop("lease_lost")
                continue
            active.note_renewal(held_until_s)
            if is_cancelled:
                active.request_stop("cancelled")

    def _store_logs(self) -> None:
        pending = [(active, *active.log.pending()) for active in self._snapshot() if not active.has_ended]
        chosen = [item for item in pending if item[1]]
        if not chosen:
            return
        store_logs(get_engine(), [(active.claim.run.id, active.claim.owner, lines) for active, lines, _ in chosen])
        for active, _, number in chosen:
            active.log.forget(number)

    def _report_alive(self) -> None:
        """Report; whatever is wrong with that must not keep lost runs from being rescued."""
        try:
            if self._report is not None:
                self._report()
        except DatabaseUnavailable:
            raise
        except Exception:
            _LOG.exception("keeper.failed")

    def _look_after_ledger(self, broker: dramatiq.Broker, *, is_thorough: bool) -> None:
        if time.monotonic() >= max(self._next_rescue_s, self._rescue_not_before_s):
            self._next_rescue_s = time.monotonic() + self._settings.lease_s * _RESCUE_PART
            rescue_runs(get_engine(), lease_s=self._settings.lease_s)
        relay_unsent_runs(
            get_engine(),
            broker,
            resend_after_s=self._settings.resend_after_s,
            with_resends=is_thorough,
            budget_s=self._settings.lease_s / 5,
        )

    def _snapshot(self) -> list[ActiveRun]:
        with self._lock:
            return list(self._active.values())
