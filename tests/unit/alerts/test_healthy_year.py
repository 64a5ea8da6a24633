"""A year in which everything goes well: nobody is told anything."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k9ops.alerts.rules import RULES, find_conditions
from k9ops.alerts.situation import EndedRun, Room, RunningRun, ScheduleFacts, Situation, WaitingRuns
from k9ops.config.settings import Settings, load_settings

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
QUEUES = frozenset({"k9_tasks", "schedules", "backups", "reports", "notifications"})


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings({}).settings


class Year:
    """The ordinary days of a unit, with their ordinary scatter: growth, slow nights, a quiet Friday, short queues."""

    def __init__(self) -> None:
        self.chance = random.Random(2026)  # noqa: S311 - the same year each time
        self.history: dict[str, list[EndedRun]] = {}

    def end(self, job: str, at: datetime, duration_s: float, **evidence: object) -> None:
        scattered_s = duration_s * self.chance.uniform(0.6, 1.8)
        run = EndedRun(
            "skipped" if evidence.get("locked") == 0 else "succeeded",
            at + timedelta(seconds=scattered_s),
            duration_s=scattered_s,
            late_s=self.chance.uniform(0, 120),
            evidence=evidence,
        )
        self.history[job] = [run, *self.history.get(job, ())][:12]

    def pass_moment(self, now: datetime) -> None:
        """End what ends at this time of this day."""
        number = (now - BEGIN).days
        size = int(50_000_000 * (1 + number / 365) * self.chance.uniform(0.95, 1.05))
        if (now.hour, now.minute) == (2, 0):
            self.end("create_backup", now, 90, size_bytes=size)
            self.end("verify_backup", now, 200, rows=1)
        if (now.hour, now.minute) == (21, 0):
            self.end("lock_schedules", now, 1, locked=0 if now.weekday() == 4 else 12)
        if (now.weekday(), now.hour, now.minute) == (0, 3, 0):
            self.end("clean_notifications", now, 40, deleted=self.chance.randrange(500))

    def look(self, now: datetime) -> Situation:
        waiting = []
        if self.chance.random() < 0.3:
            since = now - timedelta(seconds=self.chance.uniform(0, 240))
            waiting = [WaitingRuns("reports", 2, since, unsent=1, unsent_at=since)]
        verified = next((run.finished_at for run in self.history.get("verify_backup", ())), None)
        return Situation(
            now=now,
            history=self.history,
            running=[RunningRun("verify_backup", now - timedelta(seconds=self.chance.uniform(0, 600)))],
            waiting=waiting,
            served_queues=QUEUES,
            schedules=[ScheduleFacts("create_backup", now - timedelta(seconds=self.chance.uniform(0, 90)), verified)],
            wants_backups=True,
            verified_at=verified,
            known_since=BEGIN,
            disk=Room(200 * 10**9, 500 * 10**9),
            last_round_at=now - timedelta(seconds=self.chance.uniform(20, 120)),
        )


def test_nobody_is_told_anything_in_a_healthy_year(settings: Settings) -> None:
    year, told, now = Year(), [], BEGIN
    while now < BEGIN + timedelta(days=365):
        year.pass_moment(now)
        now += timedelta(minutes=20)
        told += find_conditions(year.look(now), settings)
    assert told == []


def test_every_rule_has_a_line_in_the_document() -> None:
    words = (Path(__file__).parents[3] / "docs/alerts.md").read_text(encoding="utf-8")
    assert [rule.name for rule in RULES if f"| `{rule.name}` |" not in words] == []
