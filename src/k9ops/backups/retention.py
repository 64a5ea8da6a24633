"""Which backups stay: a pure plan, and its execution."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from k9ops.backups.catalogue import Backup, delete_backup, list_backups, sweep, update_state
from k9ops.backups.manifest import BackupState, VerificationState
from k9ops.backups.uploads_packs import remove_unreferenced_packs
from k9ops.config.settings import Settings
from k9ops.errors import BackupNotFound, PolicyInvalid

# Clocks of two machines differ by less than this, unless one is wrong.
_CLOCK_TOLERANCE = timedelta(hours=1)
_PERIOD_FORMS = (
    "newest verified of day {:04}-{:02}-{:02}",
    "newest verified of week {:04}-W{:02}",
    "newest verified of month {:04}-{:02}",
)

_Period = tuple[int, ...]


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

    @property
    def arrival(self) -> int | None:
        """Its place in the order in which backups came, which no clock decides; None when it has none yet."""


_Item = TypeVar("_Item", bound=Retainable)


@dataclass(frozen=True)
class RetentionPolicy:
    """How much to keep; 0 switches a rule off.

    Attributes:
        retention_days: Every backup that was no more than so many days old when the newest verified one was made.
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

    Clocks can be wrong, when a backup is made or now. So "newest" is asked twice, and what either answer keeps stays:
    by the order in which the backups arrived, and by date, without those that are dated after `now`. Age counts back
    from the newest verified backup, so that neither an outage nor a clock that is ahead lets old ones go.

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
    by_arrival = sorted(backups, key=_arrival_key, reverse=True)
    by_date = sorted(
        (backup for backup in backups if not is_dated_ahead(backup, now)),
        key=lambda backup: (backup.created_at, backup.backup_id),
        reverse=True,
    )
    reasons: dict[str, str] = {}
    for ordered in (by_date, by_arrival):
        _protect(ordered, reasons)
    periods = {backup.backup_id: _periods_of(backup.created_at.astimezone(zone)) for backup in by_arrival}
    for ordered in (by_date, by_arrival):
        _keep_periods(ordered, periods, policy, reasons)
    _keep_young(by_arrival, policy, now, reasons)
    newest_first = sorted(backups, key=lambda backup: (backup.created_at, backup.backup_id), reverse=True)
    keep = [Decision(backup, reasons[backup.backup_id]) for backup in newest_first if backup.backup_id in reasons]
    delete = [Decision(backup, _why_not(backup)) for backup in newest_first if backup.backup_id not in reasons]
    return RetentionPlan(tuple(keep), tuple(delete))


def is_dated_ahead(backup: Retainable, now: datetime) -> bool:
    """Tell whether a backup claims to be of the future: one of the clocks was wrong."""
    return backup.created_at > now + _CLOCK_TOLERANCE


def number_arrivals(backups: Sequence[Backup]) -> dict[str, int]:
    """Return the numbers of the backups that have none yet, after all that have one."""
    last = max((backup.arrival or 0 for backup in backups), default=0)
    new = sorted((backup for backup in backups if backup.arrival is None), key=_arrival_key)
    return {backup.backup_id: number for number, backup in enumerate(new, last + 1)}


def note_arrivals(folder: Path) -> None:
    """Number the backups of a folder that have no number yet; called as soon as one is made."""
    backups = list_backups(folder).backups
    numbers = number_arrivals(backups)
    for backup in backups:
        if backup.backup_id in numbers:
            arrival = {"arrival": numbers[backup.backup_id]}
            with contextlib.suppress(BackupNotFound):
                update_state(backup, partial(BackupState.model_copy, update=arrival))


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
        note_arrivals(settings.backup_dir)
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


def _arrival_key(backup: Retainable) -> tuple[bool, int, datetime, str]:
    """Sort by arrival; those that have no number yet came last."""
    number = backup.arrival
    return (number is None, number or 0, backup.created_at, backup.backup_id)


def _protect(ordered: Sequence[Retainable], reasons: dict[str, str]) -> None:
    for backup in ordered:
        if backup.is_pinned:
            reasons.setdefault(backup.backup_id, "pinned")
    for backup in ordered:
        if backup.verification_state == "verified":
            reasons.setdefault(backup.backup_id, "newest verified")
            return
        reasons.setdefault(backup.backup_id, "newer than the newest verified")


def _periods_of(moment: datetime) -> tuple[_Period, ...]:
    week = moment.isocalendar()
    return ((moment.year, moment.month, moment.day), (week.year, week.week), (moment.year, moment.month))


def _keep_periods(
    ordered: Sequence[Retainable],
    periods: Mapping[str, tuple[_Period, ...]],
    policy: RetentionPolicy,
    reasons: dict[str, str],
) -> None:
    verified = [backup for backup in ordered if backup.verification_state == "verified"]
    counts = (policy.daily, policy.weekly, policy.monthly)
    for position, (count, form) in enumerate(zip(counts, _PERIOD_FORMS, strict=True)):
        seen: set[_Period] = set()
        for backup in verified:
            period = periods[backup.backup_id][position]
            if len(seen) == count:
                break
            if period not in seen:
                seen.add(period)
                reasons.setdefault(backup.backup_id, form.format(*period))


def _keep_young(
    by_arrival: Sequence[Retainable], policy: RetentionPolicy, now: datetime, reasons: dict[str, str]
) -> None:
    if not policy.retention_days:
        return
    # What is dated ahead was made before the next one arrived, and before now.
    moments: list[datetime] = []
    for backup in by_arrival:
        ahead = moments[-1] if moments else now
        moments.append(ahead if is_dated_ahead(backup, now) else backup.created_at)
    verified = [
        moment for backup, moment in zip(by_arrival, moments, strict=True) if backup.verification_state == "verified"
    ]
    limit = min(now, max(verified, default=now)) - timedelta(days=policy.retention_days)
    for backup, moment in zip(by_arrival, moments, strict=True):
        if moment > limit:
            reasons.setdefault(backup.backup_id, f"younger than {policy.retention_days} days")


def _why_not(backup: Retainable) -> str:
    if backup.verification_state == "verified":
        return "too old, and not the newest verified one of a day, week or month that counts"
    return f"too old and {backup.verification_state}; a newer backup is verified"
