"""Two threads in every worker process that keep the promises of the ledger, independent of any scheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import dramatiq

from k9ops.broker.overdue import OverdueRuns
from k9ops.broker.rescuing import Rescuer, expire_runs
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable
from k9ops.ledger.claims import renew_leases
from k9ops.ledger.execution import ActiveRun
from k9ops.ledger.run_log import store_logs

_LOG = get_logger("k9ops.broker")

# With leases of 10 s, the runs of a killed worker run again within 14 s.
_RENEWAL_PART = 1 / 3


class Keeper(threading.Thread):
    """Renews this process's leases, sends what is due, puts the runs of dead workers back, and ends what does not stop.

    What asks the broker has a thread of its own, so that one that hangs cannot cost a lease.

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
        self._active: dict[str, ActiveRun] = {}  # by the owner's name of the claim
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_database_away = False
        self._is_broker_away = False
        self._renew_at_s = 0.0
        self._rescue_not_before_s = 0.0
        self._be_thorough_at_s = 0.0

    def add(self, active: ActiveRun) -> None:
        """Renew this run's lease from now on."""
        with self._lock:
            self._active[active.claim.owner] = active

    def remove(self, active: ActiveRun) -> None:
        """Stop renewing this run's lease."""
        with self._lock:
            self._active.pop(active.claim.owner, None)

    def request_stop_of_all(self, reason: str) -> None:
        """Ask every job of this process to stop."""
        for active in self.find_held():
            active.request_stop(reason)

    @property
    def is_leaving(self) -> bool:
        """Whether this process is about to end because of a job that does not stop."""
        return self._overdue is not None and self._overdue.is_leaving

    def wear_out(self) -> None:
        """Replace this process, although no job is overdue."""
        if self._overdue is not None:
            self._overdue.wear_out()

    def stop(self) -> None:
        """End the threads and wait for them."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Work until stopped; an error of one round is logged and the next round tried."""
        if self._broker is None:
            self._repeat(self._look_after_claims)
            return
        rescuer, broker = Rescuer(get_engine(), self._settings), self._broker
        other = threading.Thread(
            target=self._repeat,
            args=(lambda: self._look_after_ledger(rescuer, broker),),
            name="k9ops-relay",
            daemon=True,
        )
        other.start()
        self._repeat(self._look_after_claims)
        other.join()

    def _repeat(self, look: Callable[[], None]) -> None:
        while not self._stopped.wait(self._settings.relay_interval_s):
            try:
                look()
                if self._is_database_away:
                    _LOG.info("ledger.reachable")
                self._is_database_away = False
            except DatabaseUnavailable as exc:
                # Leases ran out while nobody could renew them: their holders get the time of one lease to do so.
                self._rescue_not_before_s = time.monotonic() + self._settings.lease_s
                self._renew_at_s = 0.0
                if not self._is_database_away:
                    _LOG.warning("ledger.unreachable", problem=exc.user_message)
                self._is_database_away = True
            except BrokerUnavailable as exc:
                if not self._is_broker_away:
                    _LOG.warning("broker.unreachable", problem=exc.user_message)
                self._is_broker_away = True
            except Exception:
                _LOG.exception("keeper.failed")

    def _look_after_claims(self) -> None:
        if self._overdue is not None:
            self._overdue.look_after(self.find_held())
        is_renewal_due = time.monotonic() >= self._renew_at_s
        self._renew(also_without_progress=is_renewal_due)
        self._store_logs()
        if is_renewal_due:
            self._renew_at_s = time.monotonic() + self._settings.lease_s * _RENEWAL_PART
            self._report_alive()

    def _look_after_ledger(self, rescuer: Rescuer, broker: dramatiq.Broker) -> None:
        is_thorough = time.monotonic() >= self._be_thorough_at_s
        if time.monotonic() >= self._rescue_not_before_s:
            rescuer.look()
            if is_thorough:
                expire_runs(get_engine())
        relay_unsent_runs(
            get_engine(),
            broker,
            resend_after_s=self._settings.resend_after_s,
            with_resends=is_thorough,
            budget_s=self._settings.lease_s / 5,
        )
        if is_thorough:
            self._be_thorough_at_s = time.monotonic() + self._settings.lease_s * _RENEWAL_PART
        if self._is_broker_away:
            _LOG.info("broker.reachable")
        self._is_broker_away = False

    def _renew(self, *, also_without_progress: bool) -> None:
        held = [(active, active.take_progress()) for active in self.find_held()]
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
            is_cancelled = renewed.get(active.claim.owner)
            if is_cancelled is None:
                active.request_stop("lease_lost")
                continue
            active.note_renewal(held_until_s)
            if is_cancelled:
                active.request_stop("cancelled")

    def _store_logs(self) -> None:
        pending = [(active, *active.log.pending()) for active in self.find_held() if not active.has_ended]
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

    def find_held(self) -> list[ActiveRun]:
        """Return the runs of this process."""
        with self._lock:
            return list(self._active.values())
