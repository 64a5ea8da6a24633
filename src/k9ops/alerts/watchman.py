"""The watchman of a process: goes his rounds in a thread, whatever periodiq, Redis and the jobs do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from k9ops.alerts.channels import build_channels
from k9ops.alerts.outage import tell_outage, tell_return
from k9ops.alerts.rounds import go_round
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseUnavailable

_LOG = get_logger("k9ops.alerts")


class Watchman(threading.Thread):
    """Goes a round every `watch_interval_s`, if no other process has gone it.

    Args:
        settings: Interval, rules, channels.
        open_engine: Gives the process's engine.
        holder: Name of the process.
    """

    def __init__(self, settings: Settings, open_engine: Callable[[], Engine], *, holder: str) -> None:
        super().__init__(name="k9ops-watchman", daemon=True)
        self._settings = settings
        self._open_engine = open_engine
        self._holder = holder
        self._stopped = threading.Event()
        self._last_problem = ""

    def run(self) -> None:
        """Watch until stopped; an error of one round is logged and the next round gone."""
        while not self._stopped.wait(self._settings.watch_interval_s):
            self.watch_once()

    def watch_once(self) -> bool:
        """Go a round now if it is due. Return whether this process went it."""
        now = datetime.now(UTC)
        try:
            channels = build_channels(self._settings, self._open_engine())
            try:
                went = go_round(self._settings, self._open_engine(), holder=self._holder, now=now)
            except DatabaseUnavailable as exc:
                if self._is_news(exc.user_message):
                    _LOG.warning("watch.blind", problem=exc.user_message)
                tell_outage(self._settings, channels, exc.user_message, now=now)
                return False
            tell_return(self._settings, channels, now=now)
        except DBAPIError as exc:
            # Its tables are not there yet, or somebody holds them.
            if self._is_news(type(exc.orig).__name__):
                _LOG.warning("watch.failed", problem=type(exc.orig).__name__)
            return False
        except Exception:
            _LOG.exception("watch.crashed")
            return False
        self._last_problem = ""
        return went

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        if self.is_alive():
            self.join()

    def _is_news(self, problem: str) -> bool:
        """Tell whether a problem is another than at the last round: it is logged once."""
        is_news, self._last_problem = problem != self._last_problem, problem
        return is_news
