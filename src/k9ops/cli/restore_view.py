"""How a restore, a comparison, a swap and the databases beside the live one look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rich.console import RenderableType

from k9ops.backups.catalogue import Backup
from k9ops.backups.differences import Comparison, TableChange
from k9ops.backups.restore import RestoreReport
from k9ops.backups.sides import Side
from k9ops.backups.swap import SwapReport
from k9ops.cli.output import (
    format_bytes,
    format_duration,
    format_moment,
    print_fields,
    print_remark,
    print_table,
    print_text,
    style_state,
)


def print_choice(backups: Sequence[Backup], zone: ZoneInfo, *, rows_now: int | None, now: datetime) -> None:
    """Print backups with numbers to choose from."""
    rows: list[list[RenderableType]] = [
        [
            str(number),
            format_moment(backup.created_at, zone),
            format_age(now - backup.created_at),
            format_bytes(backup.size_bytes),
            f"{backup.manifest.row_count:,}",
            "-" if rows_now is None else f"{rows_now - backup.manifest.row_count:+,}",
            style_state(backup.verification_state),
            format_moment(backup.state.verification.at, zone),
            (backup.state.pinned_reason or "yes") if backup.is_pinned else "",
        ]
        for number, backup in enumerate(backups, 1)
    ]
    columns = (
        ">no",
        f"data of ({zone.key})",
        ">age",
        ">size",
        ">rows",
        ">since then",
        "state",
        "verified at",
        "pinned",
    )
    print_table(columns, rows, empty="No backups.")
    if rows_now is not None:
        print_remark(f"The live database has {rows_now:,} rows now.")


def print_restore(report: RestoreReport, zone: ZoneInfo) -> None:
    """Print what was restored."""
    print_text(f"Backup {report.backup_id} is restored into the new database {report.database}.")
    print_fields(
        {
            "compared": f"{report.rows_compared:,} rows of {report.tables_compared} tables, all as in the manifest",
            "rows of": None if report.tables is None else f"{', '.join(report.tables)} only; no foreign keys",
            "took": format_duration(report.duration_s),
            "owners": "as in the backup" if report.keeps_owners else report.owners_note,
            "kept until": format_moment(report.kept_until, zone) if report.kept_until else None,
        }
    )


def print_changes(comparison: Comparison) -> None:
    """Print the tables that differ from the live database."""
    changes = comparison.changes
    same = len(comparison.tables) - len(changes)
    if not changes:
        what = "row for row" if comparison.compares_contents else "in the number of rows"
        print_text(f"All {same} tables are the same as in the live database now, {what}.")
        return
    print_text("")
    print_text(f"Now: the live database {comparison.live}. There: {comparison.database}.")
    columns = ("table", ">rows now", ">rows there", ">only now", ">only there", "")
    print_table(columns, [_change_row(change) for change in changes], empty="")
    what = "same" if comparison.compares_contents else "same in number"
    print_text(f"{len(changes)} tables differ, {same} are the {what}. A changed row counts in both last columns.")


def print_swap(report: SwapReport, zone: ZoneInfo) -> None:
    """Print what took the place of what, and the way back."""
    came = f"Backup {report.backup_id}" if report.action == "swap" and report.backup_id else report.placed
    print_text(f"{came} is the live database {report.database} now.")
    print_fields(
        {
            "swap took": format_duration(report.swap_s),
            "before": f"kept as database {report.former_database} until {format_moment(report.kept_until, zone)}",
            "safety backup": report.safety_backup_id,
            "open runs": f"{report.cancelled_runs} of the backup cancelled" if report.cancelled_runs else None,
            "note": "\n".join(report.notes) or None,
            "undo": "k9ops backup undo",
        }
    )


def print_sides(sides: Sequence[Side], zone: ZoneInfo, *, live: str) -> None:
    """Print the databases that k9ops keeps beside the live one."""
    rows: list[list[RenderableType]] = [
        [
            side.database,
            _describe_side(side),
            format_moment(side.mark.since, zone),
            format_moment(side.mark.until, zone) if side.mark.until else "dropped by hand",
            "-" if side.size_bytes is None else format_bytes(side.size_bytes),
            side.mark.backup_id or "",
        ]
        for side in sides
    ]
    columns = ("database", "what", f"since ({zone.key})", "kept until", ">size", "backup")
    print_table(columns, rows, empty=f"k9ops keeps no database beside {live}.")


def format_age(age: timedelta) -> str:
    """Return how long ago something was, for a person, e.g. `3 d 4 h`."""
    minutes = int(age.total_seconds() // 60)
    if minutes < 0:
        return "in the future"
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _change_row(change: TableChange) -> list[RenderableType]:
    state = "" if change.state == "differs" else change.state
    numbers = (change.live_rows, change.restored_rows, change.only_live, change.only_restored)
    return [change.table, *("-" if number is None else f"{number:,}" for number in numbers), state]


def _describe_side(side: Side) -> str:
    if side.mark.kind == "undo":
        return "undo: was live before"
    return "restored" if side.mark.tables is None else f"restored, rows of {', '.join(side.mark.tables)}"
