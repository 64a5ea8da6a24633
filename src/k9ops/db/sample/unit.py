"""The invented dog unit: who is there, and the rows that the other modules add to it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from k9ops.db.application import Generation
from k9ops.db.application_enums import enum_labels

Row = dict[str, Any]


@dataclass
class SampleUnit:
    """Rows by table, in an order that foreign keys accept, and the people, dogs and projects among them.

    Attributes:
        generation: Of the application.
        today: The unit's date that the data ends at.
        first_number: Number of the first person and dog; above 0 beside existing data.
        random: The one source of chance, so that a seed gives the same data each time.
    """

    generation: Generation
    today: date
    first_number: int
    random: random.Random
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, **values: Any) -> Row:
        """Add a row with a fresh id."""
        row = {"id": self.new_id(), **values}
        self.rows.setdefault(table, []).append(row)
        return row

    def new_id(self) -> uuid.UUID:
        """Return a random id of version 4."""
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def chance(self, share: float) -> bool:
        """Return True in `share` of all calls."""
        return self.random.random() < share

    def pick(self, words: Any) -> Any:
        """Return one of several."""
        return self.random.choice(words)

    def label(self, enum: str) -> str:
        """Return one of an enum's labels."""
        return self.random.choice(enum_labels(self.generation)[enum])

    def days(self, count: int, *, ending_in_days: int = 0) -> list[date]:
        """Return the days up to today, or up to some days after it, oldest first."""
        last = self.today + timedelta(days=ending_in_days)
        return [last - timedelta(days=back) for back in range(count - 1, -1, -1)]

    def moment(self, day: date, *, from_hour: int = 6, to_hour: int = 18) -> datetime:
        """Return a naive UTC moment of a day."""
        return datetime.combine(day, self.clock(from_hour, to_hour))

    def clock(self, from_hour: int, to_hour: int) -> time:
        """Return a time of day between two hours."""
        minute = self.random.randrange(from_hour * 60, to_hour * 60)
        return time(minute // 60, minute % 60)

    def if_b(self, make: Callable[[], Row]) -> Row:
        """Return columns of generation B, or none."""
        return make() if self.generation == "B" else {}

    def employees(self, *roles: str) -> list[Row]:
        """Return the employees of some roles."""
        return [row for row in self.rows["employee"] if row["role"] in roles]

    def users(self, *roles: str) -> list[Row]:
        """Return the users of some roles."""
        return [row for row in self.rows["user"] if row["role"] in roles]

    def projects(self, *statuses: str) -> list[Row]:
        """Return the projects of some statuses."""
        return [row for row in self.rows["project"] if row["status"] in statuses]

    @property
    def working_dogs(self) -> list[Row]:
        """The dogs on duty or in training."""
        return [row for row in self.rows["dog"] if row["current_status"] in ("ACTIVE", "TRAINING")]
