"""Maintenance windows: times of the week at which nobody is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun)\s+)?(\d{2}):(\d{2})\s*-\s*(\d{2}):(\d{2})", re.IGNORECASE)


@dataclass(frozen=True)
class Window:
    """A time of the day, on one day of the week or every day; it may end on the next day.

    Attributes:
        weekday: 0 is Monday; None is every day.
        begins: Local time.
        ends: Local time, not before the beginning means the same day.
    """

    weekday: int | None
    begins: time
    ends: time

    def covers(self, moment: datetime, zone: ZoneInfo) -> bool:
        """Tell whether an aware moment lies in the window."""
        local = moment.astimezone(zone)
        for day in (local.date(), local.date() - timedelta(days=1)):
            if self.weekday is not None and day.weekday() != self.weekday:
                continue
            last = day if self.begins < self.ends else day + timedelta(days=1)
            begins, ends = datetime.combine(day, self.begins), datetime.combine(last, self.ends)
            if begins <= local.replace(tzinfo=None) < ends:
                return True
        return False


def parse_windows(text: str) -> tuple[Window, ...]:
    """Read windows such as `Fri 02:00-04:00, 23:30-00:30`.

    Raises:
        ValueError: It is none; the message says what it must look like.
    """
    windows = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        match = _FORM.fullmatch(part)
        if match is None:
            raise ValueError("must look like `Fri 02:00-04:00, 23:30-00:30`")
        weekday = _DAYS.index(match[1].lower()) if match[1] else None
        hours = [int(match[number]) for number in (2, 4)]
        minutes = [int(match[number]) for number in (3, 5)]
        if max(hours) > 23 or max(minutes) > 59 or (hours[0], minutes[0]) == (hours[1], minutes[1]):
            raise ValueError("must have times from 00:00 to 23:59, the end another one than the beginning")
        windows.append(Window(weekday, time(hours[0], minutes[0]), time(hours[1], minutes[1])))
    return tuple(windows)
