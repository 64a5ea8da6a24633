"""Makes the process that periodiq has started a scheduler."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import dramatiq
import periodiq
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from k9ops.alerts.watchman import Watchman
from k9ops.config.logging import configure_logging, get_logger
from k9ops.config.settings import Settings, get_settings
from k9ops.db.engine import get_engine
from k9ops.errors import DatabaseUnavailable, SettingsInvalid
from k9ops.ledger.execution import make_owner_name
from k9ops.ledger.processes import forget_process, report_process
from k9ops.ledger.slots import read_clock
from k9ops.periodic.dispatcher import dispatch_due_slots
from k9ops.periodic.ticks import build_tick_broker

_LOG = get_logger("k9ops.periodic")
_SKEW_S = 5.0
_SILENT_AFTER_S = 150


class Scheduler:
    """Dispatches at every tick, and survives whatever goes wrong in one.

    Args:
        settings: Time zone, lock time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_database_away = False
        self._is_ready = False
        self._name = make_owner_name()

    def dispatch(self) -> None:
        """Dispatch what is due; an error is logged, and the next tick tries again from where the last one succeeded."""
        from k9ops.actors import broker

        try:
            dispatched = dispatch_due_slots(get_engine(), broker, self._settings, now=wait_for_minute(get_engine()))
            report_process(get_engine(), self._name, kind="scheduler", silent_after_s=_SILENT_AFTER_S)
        except (DatabaseUnavailable, DBAPIError) as exc:
            if not self._is_database_away:
                _LOG.warning("ledger.unreachable", problem=str(exc))
            self._is_database_away = True
        except Exception:
            _LOG.exception("scheduler.failed")
        else:
            if self._is_database_away:
                _LOG.info("ledger.reachable")
            self._is_database_away = False
            if not self._is_ready:
                _LOG.info("scheduler.ready", dispatched=len(dispatched))
            self._is_ready = True

    def watch(self) -> None:
        """Go the watchman's rounds too, in a thread of their own."""
        if self._settings.watch_interval_s:
            Watchman(self._settings, get_engine, holder=self._name).start()

    def say_goodbye(self) -> None:
        """Tell the ledger that this scheduler has ended."""
        with contextlib.suppress(DatabaseUnavailable, DBAPIError):
            forget_process(get_engine(), self._name)
        _LOG.info("scheduler.stopped")


def is_scheduler_process() -> bool:
    """Tell whether this process is `periodiq`."""
    return Path(sys.argv[0]).stem == "periodiq"


def become_scheduler() -> None:
    """Give periodiq its broker, log as all of k9ops does, and end in order when asked to.

    Raises:
        SystemExit: A setting is wrong; which one is its message.
    """
    try:
        settings = get_settings()
    except SettingsInvalid as exc:
        sys.exit(exc.user_message)
    configure_logging(settings, stream=sys.stdout)
    import k9ops.actors  # noqa: F401 (the workers' broker first: the last one that is set is periodiq's)

    scheduler = Scheduler(settings)
    broker = build_tick_broker(settings, scheduler.dispatch)
    dramatiq.set_broker(broker)
    # periodiq's alarm handler puts into its queue; only a SimpleQueue allows that while its owner waits on it.
    periodiq.Queue = queue.SimpleQueue
    # periodiq lists and rings in the process's own time zone.
    os.environ["TZ"] = settings.timezone
    time.tzset()
    # It also tells of each tick; the dispatcher's own events say what came of it.
    logging.getLogger("periodiq").addFilter(_is_worth_telling)
    signal.signal(signal.SIGTERM, _end)
    atexit.register(scheduler.say_goodbye)
    scheduler.watch()
    _LOG.info("scheduler.started", schedules=sorted(broker.get_declared_actors()), timezone=settings.timezone)


def wait_for_minute(engine: Engine) -> datetime:
    """Return PostgreSQL's time; when a full minute is about to come there, wait for it.

    This machine rings when its own minute begins. A slower clock over there would make every slot a minute late.
    """
    now = read_clock(engine)
    left_s = 60 - now.second - now.microsecond / 1e6
    if left_s > _SKEW_S:
        return now
    time.sleep(left_s)
    return max(read_clock(engine), now.replace(second=0, microsecond=0) + timedelta(minutes=1))


def _is_worth_telling(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return bool(text) and not text.startswith("Scheduling ")


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
