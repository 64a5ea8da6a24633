"""Ten thousand histories of a backup folder: outages, failed verifications, pins, and clocks that jump.

A simulated unit makes backups for some months while all of that happens, the plan is applied at each step, and then
come some calm months. What is true is known here, whatever the clocks say.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.unit.backups.making import make_backup

from k9ops.backups.catalogue import Backup, make_backup_id
from k9ops.backups.retention import RetentionPolicy, number_arrivals, plan_retention

HISTORIES = 10_000
SHARES = 10
STEPS, CALM_STEPS = 16, 16

START = datetime(2026, 1, 1, 2, tzinfo=UTC)
RIYADH = ZoneInfo("Asia/Riyadh")
YEAR = timedelta(days=365)
JUMPS = [73 * YEAR, 73 * YEAR, YEAR, timedelta(days=3), -timedelta(days=2), -20 * YEAR, -56 * YEAR]
TEMPLATE = make_backup(START)


@dataclass
class History:
    """One simulated folder.

    Attributes:
        chance: Decides everything.
        policy: In force for the whole history.
        true_now: What no clock here knows for certain.
        offset: How far the clock is ahead.
        folder: The backups, by id, in the order in which they were made.
    """

    chance: random.Random
    policy: RetentionPolicy
    true_now: datetime = START
    offset: timedelta = timedelta(0)
    folder: dict[str, Backup] = field(default_factory=dict)
    made: int = 0

    @property
    def now(self) -> datetime:
        return self.true_now + self.offset

    def make(self, state: str) -> None:
        self.made += 1
        backup_id = make_backup_id(self.now, uuid.UUID(int=self.made))
        manifest = TEMPLATE.manifest.model_copy(update={"backup_id": backup_id, "snapshot_at": self.now})
        self.folder[backup_id] = replace(TEMPLATE, manifest=manifest)
        self.change(backup_id, verification=TEMPLATE.state.verification.model_copy(update={"state": state}))
        self.change(backup_id, arrival=number_arrivals(list(self.folder.values()))[backup_id])

    def change(self, backup_id: str, **values: object) -> None:
        backup = self.folder[backup_id]
        self.folder[backup_id] = replace(backup, state=backup.state.model_copy(update=values))

    def retain(self) -> None:
        """Apply the plan, and check what must hold at every step."""
        before = list(self.folder.values())
        plan = plan_retention(before, self.policy, now=self.now, zone=RIYADH)
        for decision in plan.delete:
            del self.folder[decision.backup.backup_id]
            assert not decision.backup.is_pinned
        verified = [backup for backup in before if backup.verification_state == "verified"]
        kept = [backup for backup in verified if backup.backup_id in self.folder]
        if verified:
            assert verified[-1] is kept[-1], "the newest verified one, in truth, has gone"
        else:
            assert not plan.delete
        for count, form in (
            (self.policy.daily, "%Y-%m-%d"),
            (self.policy.weekly, "%G-%V"),
            (self.policy.monthly, "%Y-%m"),
        ):
            wanted = min(count, len(periods(verified, form)))
            assert len(periods(kept, form)) >= wanted, f"fewer than {wanted} verified copies by {form}"

    def live_through(self) -> None:
        """Months in which everything happens."""
        for _ in range(STEPS):
            self.true_now += timedelta(hours=self.chance.choice([6, 24, 24, 24, 72, 24 * 20]))
            fate = self.chance.random()
            if fate < 0.12:
                self.offset = self.chance.choice(JUMPS)
            elif fate < 0.3:
                self.offset = timedelta(0)
            if self.chance.random() < 0.85:
                self.make(self.chance.choices(["verified", "failed", "unverified"], [8, 1, 1])[0])
            if self.folder and self.chance.random() < 0.1:
                chosen = self.chance.choice(list(self.folder))
                self.change(chosen, pinned_at=None if self.folder[chosen].is_pinned else self.now)
            if self.chance.random() < 0.8:
                self.retain()

    def calm_down(self) -> None:
        """Months in which every clock is right and every backup is verified."""
        self.offset = timedelta(0)
        restless = set(self.folder)
        for _ in range(CALM_STEPS):
            self.true_now += timedelta(days=7)
            self.make("verified")
            self.retain()
        stayed = [backup for backup in self.folder.values() if backup.backup_id in restless and not backup.is_pinned]
        assert stayed == [], "it never expires"


def periods(backups: list[Backup], form: str) -> set[str]:
    return {f"{backup.created_at.astimezone(RIYADH):{form}}" for backup in backups}


def make_policy(chance: random.Random) -> RetentionPolicy:
    while True:
        numbers = (chance.choice([0, 0, 3, 10, 30]), chance.randint(0, 5), chance.randint(0, 3), chance.randint(0, 2))
        if any(numbers):
            return RetentionPolicy(*numbers)


@pytest.mark.parametrize("share", range(SHARES))
def test_retention_loses_no_copy_that_counts_and_keeps_none_for_ever(share: int) -> None:
    for number in range(share, HISTORIES, SHARES):
        chance = random.Random(number)  # noqa: S311
        history = History(chance, make_policy(chance))
        try:
            history.live_through()
            history.calm_down()
        except AssertionError as exc:
            raise AssertionError(f"history {number}, {history.policy}: {exc}") from exc
