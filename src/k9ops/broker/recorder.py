"""Middleware that claims a run before its job and records the outcome after it."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import dramatiq
import structlog
from dramatiq.common import q_name
from dramatiq.middleware import SkipMessage
from dramatiq.middleware.shutdown import Shutdown
from dramatiq.middleware.threading import Interrupt
from dramatiq.middleware.time_limit import TimeLimitExceeded
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from k9ops.alerts.watchman import Watchman
from k9ops.broker.conclude import record_conclusion
from k9ops.broker.jobs import JOB_OPTIONS, Job, describe_job
from k9ops.broker.keeper import Keeper
from k9ops.broker.memory import MemoryWatch, wall_of
from k9ops.broker.plain_sending import RECORDED_OPTION
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import DatabaseUnavailable, ParamsInvalid, RunInterrupted
from k9ops.ledger.claims import claim_run, make_claim_token
from k9ops.ledger.conclusion import Conclusion, conclude_error, conclude_return
from k9ops.ledger.execution import ActiveRun, current_run, make_owner_name, set_current
from k9ops.ledger.model import NewRun
from k9ops.ledger.processes import forget_process, report_process
from k9ops.ledger.requests import record_run
from k9ops.process_memory import limit_own_data
from k9ops.slot import find_run_slot

_LOG = get_logger("k9ops.broker")
_WAIT_S = 1.0
_T = TypeVar("_T")


class RunRecorder(dramatiq.Middleware):
    """Makes the ledger the truth about every message.

    A message is only a doorbell: the run is claimed in the ledger before its job starts, and its end is recorded
    there before the message is acknowledged. Retries wait in the ledger, so that a failing Redis cannot lose them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._owner = ""
        self._keeper: Keeper | None = None
        self._watchman: Watchman | None = None
        self._memory: MemoryWatch | None = None
        self._is_stopping = threading.Event()

    @property
    def actor_options(self) -> set[str]:
        """Name the options that actors of k9ops have beside those of Dramatiq."""
        return set(JOB_OPTIONS)

    def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
        """Record the run of a message that was sent by `actor.send()`."""
        if RECORDED_OPTION in message.options:
            return
        new = self._describe_message(broker, message, delay)
        try:
            record_run(get_engine(), new, is_sent=not delay)
        except (DatabaseUnavailable, DBAPIError) as exc:
            # The worker records it on arrival.
            _LOG.warning("run.unrecorded", run_id=message.message_id, job=message.actor_name, problem=str(exc))
        else:
            message.options[RECORDED_OPTION] = True

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Make ready for the first run: Dramatiq's threads begin before the end of the boot."""
        self._owner = make_owner_name()

        def report() -> None:
            report_process(
                get_engine(),
                self._owner,
                kind="worker",
                queues=_served_queues(worker),
                threads=len(worker.workers),
                silent_after_s=self._settings.lease_s * 2,
            )

        self._keeper = Keeper(self._settings, broker=broker, report=report)
        limit_own_data(wall_of(self._settings.worker_memory_mb, threads=worker.worker_threads))
        self._memory = MemoryWatch(
            self._settings.worker_memory_mb,
            find_held=self._keeper.find_held,
            find_threads=lambda: [thread.native_id for thread in worker.workers if thread.native_id],
            wear_out=self._keeper.wear_out,
        )

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Start to renew leases, to send what is due and to rescue lost runs."""
        if self._keeper:
            self._keeper.start()
        if self._memory:
            self._memory.start()
        if self._settings.watch_interval_s:
            self._watchman = Watchman(self._settings, get_engine, holder=self._owner)
            self._watchman.start()
        _LOG.info("worker.started", worker=self._owner, queues=_served_queues(worker))

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Ask the running jobs to stop at their next check."""
        self._is_stopping.set()
        if self._keeper:
            self._keeper.request_stop_of_all("shutdown")

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop the keeper once no job runs any more."""
        if self._watchman:
            self._watchman.stop()
        if self._memory:
            self._memory.stop()
        if self._keeper:
            self._keeper.stop()
            with contextlib.suppress(DatabaseUnavailable, DBAPIError):
                forget_process(get_engine(), self._owner)
        _LOG.info("worker.stopped", worker=self._owner)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Claim the run, or skip the message when there is nothing to claim.

        While PostgreSQL is away, or lacks k9ops' tables, this waits: the message is neither lost nor acknowledged.
        """
        job = describe_job(broker.get_actor(message.actor_name))
        token = make_claim_token()
        try:
            active = self._wait_for_ledger(lambda: self._claim(broker, message, job, token))
        except RunInterrupted:
            self._return_message(broker, message)
            raise SkipMessage("The worker is shutting down; the message is back in its queue.") from None
        except Exception as exc:
            # Dramatiq would log this and start the job all the same, without a claim.
            _LOG.exception("message.rejected")
            message.fail()
            raise SkipMessage("The run cannot be claimed; the message is a dead letter now.") from exc
        if active is None:
            _LOG.info("message.skipped", reason="nothing to claim")
            raise SkipMessage("There is nothing to claim: a copy, an ended run, or one that is not due.")
        set_current(active)
        if self._keeper:
            self._keeper.add(active)
        structlog.contextvars.bind_contextvars(attempt=active.claim.run.attempt)
        _LOG.info("run.started", worker=self._owner, path="worker", trigger=active.claim.run.trigger)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Record how the attempt ended; while PostgreSQL is away this waits."""
        active = current_run()
        if active is None:
            return
        active.has_ended = True
        job = describe_job(broker.get_actor(message.actor_name))
        if self._memory:
            exception = self._memory.explain(exception, active)
        if isinstance(exception, Shutdown):
            exception = RunInterrupted("The worker is shutting down.", reason="shutdown")
        conclusion = (
            conclude_return(result)
            if exception is None
            else conclude_error(exception, active, job.retries, is_time_limit=isinstance(exception, TimeLimitExceeded))
        )
        try:
            try:
                self._record(broker, active, conclusion)
            except Interrupt:
                # The job's time limit struck just after it had ended, and what it became is not recorded yet.
                self._record(broker, active, conclusion)
        except RunInterrupted:
            _LOG.error("run.unrecorded", state=conclusion.state, problem="PostgreSQL was away until the shutdown")
        finally:
            if self._keeper:
                self._keeper.remove(active)
            set_current(None)
        if exception is not None and conclusion.action == "finish" and conclusion.state == "failed":
            message.fail()

    def _return_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        # An error that left before_process_message would start the job without a claim.
        try:
            broker.enqueue(message.copy())
        except Exception as exc:
            _LOG.warning("message.rejected", problem=str(exc))
            message.fail()

    def _record(self, broker: dramatiq.Broker, active: ActiveRun, conclusion: Conclusion) -> None:
        try:
            self._wait_for_ledger(lambda: record_conclusion(get_engine(), broker, active, conclusion))
        except RunInterrupted:
            raise
        except Exception as exc:
            # Left open, the run would be executed again and again, each time with an outcome that cannot be stored.
            _LOG.exception("run.unrecorded", state=conclusion.state, problem=str(exc))
            message = (
                f"Its outcome ({conclusion.state or conclusion.action}) could not be stored: {type(exc).__name__}."
            )
            substitute = Conclusion("finish", "failed", message, error_class=type(exc).__name__)
            self._wait_for_ledger(lambda: record_conclusion(get_engine(), broker, active, substitute))

    def _claim(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy, job: Job, token: str) -> ActiveRun | None:
        if self._keeper and self._keeper.is_leaving:
            raise RunInterrupted("The worker is about to end.", reason="shutdown")
        run_id = uuid.UUID(message.message_id)
        if RECORDED_OPTION not in message.options:
            record_run(get_engine(), self._describe_message(broker, message, None), is_sent=True)
        lease_s = self._settings.lease_s
        held_until_s = time.monotonic() + lease_s
        claim = claim_run(get_engine(), run_id, owner=self._owner, lease_s=lease_s, path="worker", token=token)
        if claim is None:
            return None
        return ActiveRun(
            claim,
            soft_limit_s=job.soft_limit_s,
            hard_limit_s=job.hard_limit_s,
            held_until_s=held_until_s,
            private_params=job.private_params,
        )

    def _describe_message(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any] | dramatiq.MessageProxy, delay: int | None
    ) -> NewRun:
        job = describe_job(broker.get_actor(message.actor_name))
        params = dict(message.kwargs)
        if message.args:
            params["*"] = list(message.args)
        due_at = datetime.now(UTC) + timedelta(milliseconds=delay) if delay else None
        try:
            slot = find_run_slot(message.kwargs)
        except ParamsInvalid:
            slot = None  # the job itself refuses what is no moment, with the same sentence
        return NewRun(
            job=job.name,
            queue=q_name(message.queue_name),
            params=params,
            id=uuid.UUID(message.message_id),
            trigger="send",
            slot=slot,
            due_at=due_at,
            expires_at=job.expires_at(slot or due_at),
        )

    def _wait_for_ledger(self, action: Callable[[], _T]) -> _T:
        is_away = False
        while True:
            try:
                value = action()
            except (DatabaseUnavailable, OperationalError, ProgrammingError) as exc:
                if not is_away:
                    _LOG.warning("ledger.unreachable", problem=str(exc), worker=self._owner)
                is_away = True
                if self._is_stopping.wait(_WAIT_S):
                    raise RunInterrupted("The worker is shutting down.", reason="shutdown") from exc
            else:
                if is_away:
                    _LOG.info("ledger.reachable")
                return value


def _served_queues(worker: dramatiq.Worker) -> list[str]:
    return sorted(queue for queue in worker.consumers if queue == q_name(queue))
