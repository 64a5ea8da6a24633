"""What periodiq sees: an actor for each row of the timetable, and a broker on which sending one means to dispatch.

A tick goes nowhere near Redis, so it can neither wait behind a busy worker, nor be skipped for its age, nor be lost
with a refused connection. periodiq computes some times wrongly and remembers none; it need only ring, and the one
spec that it never misses is that of every minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
from periodiq import PeriodiqMiddleware, cron

from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.periodic.timetable import build_timetable

_QUEUE = "ticks"
_EVERY_MINUTE = "* * * * *"


class TickBroker(dramatiq.Broker):
    """A broker that executes what it is sent, at once and in the sender's process.

    Args:
        dispatch: What every tick does; it raises nothing.
    """

    def __init__(self, dispatch: Callable[[], None]) -> None:
        super().__init__(middleware=[PeriodiqMiddleware()])
        self._dispatch = dispatch
        self._last_minute: str | None = None

    def declare_queue(self, queue_name: str) -> None:
        """Have no queue."""

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Dispatch; the ticks of one minute after the first have nothing left to do."""
        minute = str(message.options.get("scheduled_at"))
        if minute != self._last_minute:
            self._last_minute = minute
            self._dispatch()
        return message


def build_tick_broker(settings: Settings, dispatch: Callable[[], None]) -> TickBroker:
    """Return a broker with the ticks of every schedule, and the one of every minute."""
    broker = TickBroker(dispatch)
    bells = {"every_minute": _EVERY_MINUTE}
    bells |= {schedule.name: schedule.bell for schedule in build_timetable(settings, BackupSettings())}
    for name, bell in bells.items():
        declare = dramatiq.actor(broker=broker, actor_name=name, queue_name=_QUEUE, periodic=cron(bell))
        declare(dispatch)
    return broker
