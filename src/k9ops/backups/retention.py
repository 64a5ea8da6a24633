"""Which backups stay: a pure plan, and its execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from k9ops.backups.catalogue import Backup, delete_backup, list_backups, sweep
from k9ops.backups.manifest import VerificationState
from k9ops.backups.uploads_packs import remove_unreferenced_packs
from k9ops.config.settings import Settings
from k9ops.errors import BackupNotFound, PolicyInvalid


class Retainable(Protocol):
    """What the rules look at, of a backup in the folder or on Google Drive."""

    @property
    def backup_id(self) -> str:
        """Its name."""

    @property
    def created_at(self) -> datetime:
        """The moment whose data it holds, aware."""

    @property
    def verification_state(self) -> VerificationState:
        """What a restore of it showed."""

    @property
    def is_pinned(self) -> bool:
        """Whether retention must leave it alone."""


_Item = TypeVar("_Item", bound=Retainable)


@dataclass(frozen=True)
class RetentionPolicy:
    """How much to keep; 0 switches a rule off.

    Attributes:
        retention_days: Every backup younger than so many days.
        daily: The newest verified backup of each of the last so many days that have one.
        weekly: The same for ISO weeks.
        monthly: The same for months.
    """

    retention_days: int
    daily: int
    weekly: int
    monthly: int


@dataclass(frozen=True)
class Decision(Generic[_Item]):
    """A backup, and the rule that keeps it or lets it go, for a person."""

    backup: _Item
    reason: str


@dataclass(frozen=True)
class RetentionPlan(Generic[_Item]):
    """Every backup once, newest first.

    Attributes:
        keep: With the first rule that keeps it.
        delete: With the reason that goes into the log.
    """

    keep: tuple[Decision[_Item], ...]
    delete: tuple[Decision[_Item], ...]


@dataclass(frozen=True)
class RetentionReport:
    """What became of a plan.

    Attributes:
        kept: Backups that stay; also those pinned while it ran, and those that something else holds.
        deleted: Backups that went, or would with `dry_run`.
        freed_bytes: Size of their archives, and of packs of uploads that no backup refers to any more.
        dry_run: Whether nothing was touched.
    """

    kept: tuple[Decision[Backup], ...]
    deleted: tuple[Decision[Backup], ...]
    freed_bytes: int
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence, JSON values."""
        return {
            "kept": [{"backup_id": item.backup.backup_id, "reason": item.reason} for item in self.kept],
            "deleted": [{"backup_id": item.backup.backup_id, "reason": item.reason} for item in self.deleted],
            "freed_bytes": self.freed_bytes,
            "dry_run": self.dry_run,
        }


def plan_retention(
    backups: Sequence[_Item], policy: RetentionPolicy, *, now: datetime, zone: ZoneInfo
) -> RetentionPlan[_Item]:
    """Decide which backups to keep; delete nothing.

    Only verified backups count for a period. The newest verified one and pinned ones never go; neither does a
    newer one that is not verified, which may be the only copy of the last days.

    Args:
        backups: In any order; may be empty.
        policy: What to keep.
        now: Aware, passed in so that the rule stays pure.
        zone: The unit's time zone, whose days, weeks and months count.

    Returns:
        Disjoint `keep` and `delete`, together exactly `backups`.

    Raises:
        PolicyInvalid: Every number is 0, or one is negative.
    """
    numbers = (policy.retention_days, policy.daily, policy.weekly, policy.monthly)
    if min(numbers) < 0:
        raise PolicyInvalid("A retention policy takes no negative number.")
    if max(numbers) == 0:
        raise PolicyInvalid("This retention policy would keep nothing: every number is 0.")
    ordered = sorted(backups, key=lambda backup: (backup.created_at, backup.backup_id), reverse=True)
    reasons: dict[str, str] = {}
    for find_reasons in (_protected, _periods, _young):
        for backup_id, reason in find_reasons(ordered, policy, now, zone).items():
            reasons.setdefault(backup_id, reason)
    keep = [Decision(backup, reasons[backup.backup_id]) for backup in ordered if backup.backup_id in reasons]
    delete = [Decision(backup, _why_not(backup)) for backup in ordered if backup.backup_id not in reasons]
    return RetentionPlan(tuple(keep), tuple(delete))


def apply_retention(
    settings: Settings,
    policy: RetentionPolicy,
    *,
    now: datetime,
    dry_run: bool,
    find_hold: Callable[[Backup], str | None] = lambda _: None,
) -> RetentionReport:
    """Delete what the plan does not keep, oldest first, each with its reason in the log.

    Args:
        settings: Folder and time zone.
        policy: What to keep.
        now: Aware.
        dry_run: Only say what would go.
        find_hold: Returns why a backup must stay although the policy lets it go, None when it may go.

    Raises:
        PolicyInvalid: As `plan_retention` says; nothing is deleted.
    """
    plan = plan_retention(list_backups(settings.backup_dir).backups, policy, now=now, zone=settings.zone)
    kept, deleted = list(plan.keep), list[Decision[Backup]]()
    if not dry_run:
        sweep(settings.backup_dir)
    for decision in reversed(plan.delete):
        hold = find_hold(decision.backup)
        if hold is not None:
            kept.append(Decision(decision.backup, hold))
            continue
        try:
            if dry_run or delete_backup(decision.backup, decision.reason):
                deleted.append(decision)
            else:
                kept.append(Decision(decision.backup, "pinned"))
        except BackupNotFound:
            continue
    freed_bytes = sum(decision.backup.size_bytes for decision in deleted)
    if not dry_run:
        freed_bytes += remove_unreferenced_packs(settings.backup_dir)
    return RetentionReport(tuple(kept), tuple(deleted), freed_bytes, dry_run)


def _protected(ordered: Sequence[_Item], _policy: RetentionPolicy, _now: datetime, _zone: ZoneInfo) -> dict[str, str]:
    reasons = {backup.backup_id: "pinned" for backup in ordered if backup.is_pinned}
    for backup in ordered:
        if backup.verification_state == "verified":
            reasons.setdefault(backup.backup_id, "newest verified")
            break
        reasons.setdefault(backup.backup_id, "newer than the newest verified")
    return reasons


def _periods(ordered: Sequence[_Item], policy: RetentionPolicy, _now: datetime, zone: ZoneInfo) -> dict[str, str]:
    rules: tuple[tuple[str, int, Callable[[datetime], str]], ...] = (
        ("day", policy.daily, lambda moment: f"{moment:%Y-%m-%d}"),
        ("week", policy.weekly, lambda moment: f"{moment:%G-W%V}"),
        ("month", policy.monthly, lambda moment: f"{moment:%Y-%m}"),
    )
    reasons: dict[str, str] = {}
    for word, count, name_of in rules:
        newest: dict[str, _Item] = {}
        for backup in ordered:
            if backup.verification_state == "verified":
                newest.setdefault(name_of(backup.created_at.astimezone(zone)), backup)
        for name, backup in list(newest.items())[:count]:
            reasons.setdefault(backup.backup_id, f"newest verified of {word} {name}")
    return reasons


def _young(ordered: Sequence[_Item], policy: RetentionPolicy, now: datetime, _zone: ZoneInfo) -> dict[str, str]:
    limit = now - timedelta(days=policy.retention_days)
    return {
        backup.backup_id: f"younger than {policy.retention_days} days"
        for backup in ordered
        if policy.retention_days and backup.created_at > limit
    }


def _why_not(backup: Retainable) -> str:
    if backup.verification_state == "verified":
        return "too old, and not the newest verified one of a day, week or month that counts"
    return f"too old and {backup.verification_state}; a newer backup is verified"
