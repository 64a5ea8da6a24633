"""Retention over histories drawn by chance: outages, failed verifications, jumping clocks, pins, lost folders."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.unit.backups.making import MOMENT, make_backup

from k9ops.backups.catalogue import Backup
from k9ops.backups.drive_copies import RemoteBackup, find_hold, plan_deletion
from k9ops.backups.manifest import CopiedFile, DriveCopy
from k9ops.backups.retention import RetentionPolicy, plan_retention
from k9ops.drive.store import RemoteFile

ZONE = ZoneInfo("Asia/Riyadh")
HISTORIES = 10_000
SEEDS = 10


class History:
    """A folder and a drive, and everything that happens to them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = MOMENT
        daily = chance.choice([0, 1, 3])
        retention_days = chance.choice([0, 2]) if daily else 2
        self.policy = RetentionPolicy(
            retention_days=retention_days, daily=daily, weekly=chance.choice([0, 1]), monthly=0
        )
        self.local: dict[str, Backup] = {}
        self.copies: dict[str, RemoteBackup] = {}
        self.number = 0

    def step(self) -> None:
        """Let one thing happen, then retention, which must keep its promises."""
        chance = self.chance
        self.now += timedelta(hours=chance.choice([1, 12, 24, 24, 24, 200, -30]))
        action = chance.choice(["create"] * 5 + ["pin", "unpin", "verify again", "lose the folder", "nothing"])
        if action == "create":
            self.create()
        elif action == "lose the folder" and chance.random() < 0.1:
            self.local.clear()
        elif self.local and action in ("pin", "unpin", "verify again"):
            backup = chance.choice(list(self.local.values()))
            changes: dict[str, object] = {"pinned_at": self.now if action == "pin" else None}
            if action == "verify again":
                state = chance.choice(["verified", "failed"])
                changes = {"verification": backup.state.verification.model_copy(update={"state": state})}
            self.local[backup.backup_id] = replace(backup, state=backup.state.model_copy(update=changes))
        drive = chance.choice(["up", "up", "up", "down", "full"])
        if drive == "up":
            self.upload()
        self.retain(is_up=drive != "down")

    def create(self) -> None:
        self.number += 1
        state = self.chance.choice(["verified"] * 4 + ["failed", "unverified"])
        backup = make_backup(self.now, number=self.number, state=state, folder=Path("/nowhere"))
        self.local[backup.backup_id] = backup

    def upload(self) -> None:
        for backup in list(self.local.values()):
            if backup.state.drive_copy is None and backup.verification_state != "failed":
                files = tuple(
                    RemoteFile(f"{backup.backup_id}{end}", f"{backup.backup_id}{end}", self.now, 1, "m", "s")
                    for end in (".dump", ".json")
                )
                noted = DriveCopy(
                    folder_id="f",
                    at=self.now,
                    files=tuple(
                        CopiedFile(name=file.name, file_id=file.file_id, size_bytes=1, md5="m", sha256="s")
                        for file in files
                    ),
                )
                self.local[backup.backup_id] = replace(
                    backup, state=backup.state.model_copy(update={"drive_copy": noted})
                )
                self.copies[backup.backup_id] = RemoteBackup(
                    backup.backup_id, backup.created_at, backup.verification_state, backup.is_pinned, files
                )

    def retain(self, *, is_up: bool) -> None:
        backups = list(self.local.values())
        if is_up:
            for backup_id, copy in self.copies.items():
                if backup_id in self.local:
                    local = self.local[backup_id]
                    self.copies[backup_id] = replace(
                        copy, verification_state=local.verification_state, is_pinned=local.is_pinned
                    )
        copies = sorted(self.copies.values(), key=lambda copy: copy.created_at, reverse=True)
        before_local, before_copies = days_of(backups), days_of(copies)
        plan = plan_retention(backups, self.policy, now=self.now, zone=ZONE)
        for decision in plan.delete:
            if find_hold(decision.backup, backups, copies if is_up else []) is None:
                del self.local[decision.backup.backup_id]
                self.check_may_go(decision.backup)
        if is_up:
            for copy, _ in plan_deletion(
                copies, self.policy, local={backup.backup_id for backup in backups}, kept=set(self.local),
                now=self.now, zone=ZONE,
            ):  # fmt: skip
                del self.copies[copy.backup_id]
                assert not copy.is_pinned
                assert copy.backup_id not in self.local, "what stays in the folder keeps its copy"
        self.check(backups, before_local, list(self.local.values()))
        self.check(copies, before_copies, list(self.copies.values()))

    def check_may_go(self, backup: Backup) -> None:
        assert not backup.is_pinned
        assert any(
            copy.backup_id == backup.backup_id
            or (copy.verification_state == "verified" and copy.created_at > backup.created_at)
            for copy in self.copies.values()
        ), "it was the newest anywhere"

    def check(
        self,
        before: list[Backup] | list[RemoteBackup],
        days_before: set[str],
        after: list[Backup] | list[RemoteBackup],
    ) -> None:
        """What holds for the folder holds for the drive, each by itself."""
        assert len(days_of(after)) >= min(self.policy.daily, len(days_before))
        newest = max(moments_of(before), default=None)
        assert newest is None or newest in moments_of(after)


def moments_of(items: list[Backup] | list[RemoteBackup]) -> set[datetime]:
    return {item.created_at for item in items if item.verification_state == "verified"}


def days_of(items: list[Backup] | list[RemoteBackup]) -> set[str]:
    return {f"{moment.astimezone(ZONE):%Y-%m-%d}" for moment in moments_of(items)}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_histories_never_lose_what_the_policy_keeps_and_let_the_rest_go(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    for _ in range(HISTORIES // SEEDS):
        history = History(chance)
        for _ in range(chance.randrange(4, 16)):
            history.step()
        # In the end Drive works, nothing is pinned, and a verified backup is made on each of some days.
        history.now = max([history.now, *(b.created_at for b in history.local.values()),
                           *(c.created_at for c in history.copies.values())])  # fmt: skip
        for backup_id, backup in history.local.items():
            history.local[backup_id] = replace(backup, state=backup.state.model_copy(update={"pinned_at": None}))
        for backup_id, copy in history.copies.items():
            history.copies[backup_id] = replace(copy, is_pinned=False)
        last = []
        for _ in range(5):
            history.now += timedelta(days=8)
            history.number += 1
            backup = make_backup(history.now, number=history.number)
            history.local[backup.backup_id] = backup
            history.upload()
            history.retain(is_up=True)
            last.append(backup.backup_id)
        expected = set(last[-max(history.policy.daily, 1) :])
        assert set(history.local) == expected
        assert set(history.copies) == expected
