"""`k9ops backup restore`: beside the live database, and from there into its place."""

from __future__ import annotations

import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from k9ops.backups.catalogue import Backup, load_backup, make_backup_id
from k9ops.backups.databases import cut_name
from k9ops.backups.differences import Comparison, compare_with_live
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.restore import RestoreReport, restore_backup
from k9ops.backups.swap import SwapReport, swap_database
from k9ops.backups.uploads_restore import UploadsReport, restore_uploads
from k9ops.cli.names import OptionalBackupId, Reason
from k9ops.cli.output import JsonFlag, format_bytes, print_json, print_remark, print_text
from k9ops.cli.private_key import IdentityOption, require_keys
from k9ops.cli.progress import show_progress
from k9ops.cli.restore_guide import confirm_live, decide, pick_backup
from k9ops.cli.restore_view import print_changes, print_restore, print_swap
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable, ParamsInvalid
from k9ops.outcome import Execution

YesFlag = Annotated[bool, typer.Option("--yes", help="Ask nothing, for scripts.")]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Count the rows of each table only; do not compare them.")]
SafetyFlag = Annotated[
    bool,
    typer.Option(
        "--safety-backup/--no-safety-backup",
        help="Back the live database up before the swap; leave that out where it cannot be dumped any more.",
    ),
]


def restore(
    backup_id: OptionalBackupId = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Name of the new database.", show_default="made up")
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(
            "--tables", metavar="A,B", help="Restore the rows of these tables only, beside the live database."
        ),
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Put it in the place of the live database, which is kept as the undo.")
    ] = False,
    yes: YesFlag = False,
    quick: QuickFlag = False,
    safety_backup: SafetyFlag = True,
    files_into: Annotated[
        Path | None,
        typer.Option("--files-into", metavar="DIR", help="Restore the uploads too, into this new folder, first."),
    ] = None,
    identity: IdentityOption = None,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Restore a backup beside the live database, show what differs, and put it in its place if you say so.

    On a terminal it guides: choose a backup, look at the differences, then swap, keep or drop. Nothing that is in
    use changes before the swap, and `k9ops backup undo` takes the swap back.
    """
    settings = open_settings()
    may_ask = not (as_json or yes) and sys.stdin.isatty()
    _check_options(backup_id, to, tables, swap=swap, yes=yes, may_ask=may_ask)
    if not (safety_backup or swap or may_ask):
        raise ParamsInvalid("--no-safety-backup goes with --swap.")
    backup = pick_backup(settings) if backup_id is None else load_backup(settings.backup_dir, backup_id)
    if backup.manifest.database != settings.sqlalchemy_url.database:
        print_remark(f"This backup is of database {backup.manifest.database}, not {settings.sqlalchemy_url.database}.")
    keys = require_keys(settings, backup, identity)
    files = None
    if files_into is not None:
        files = _restore_files(settings, backup, files_into, keys, is_silent=as_json)
    name = to or _make_name(settings, backup)
    keep_days = settings.undo_days if to is None and (swap or may_ask) else None
    wanted: dict[str, Any] = {"keys": keys, "tables": tables, "keep_days": keep_days, "reason": reason}
    report = _restore(settings, backup, name, **wanted, is_silent=as_json)
    if not as_json:
        print_restore(report, settings.zone)
    comparison = _compare(settings, report, contents=not quick, is_silent=as_json)
    if comparison is not None and not as_json:
        print_changes(comparison)
    wants_swap = swap
    if may_ask and not swap and name != settings.sqlalchemy_url.database:
        wants_swap = decide(settings, report) == "swap"
    swapped = None
    if wants_swap:
        if may_ask:
            confirm_live(settings, name)
        swapped = swap_in(settings, name, safety_backup=safety_backup, reason=reason, is_silent=as_json)
    if as_json:
        print_json(
            asdict(report)
            | {
                "comparison": None if comparison is None else asdict(comparison),
                "swap": None if swapped is None else asdict(swapped),
            }
            | ({} if files is None else {"uploads": asdict(files)})
        )


def swap_in(
    settings: Settings, database: str, *, safety_backup: bool, reason: str | None, is_silent: bool
) -> SwapReport:
    """Put a restored database in the place of the live one, and tell how it went."""
    backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4()) if safety_backup else None
    label = "Safety backup, then the swap" if safety_backup else "Swapping"
    with show_progress(label, is_silent=is_silent) as display:
        report = swap_database(
            settings,
            database=database,
            actor=name_requester(),
            execution=Execution(report_progress=display.report),
            safety_backup_id=backup_id,
            origin=name_here(),
            reason=reason,
        )
    if not is_silent:
        print_swap(report, settings.zone)
    return report


def _check_options(
    backup_id: str | None, to: str | None, tables: str | None, *, swap: bool, yes: bool, may_ask: bool
) -> None:
    """Raise `ParamsInvalid` for options that do not fit each other or the place where they are given."""
    if tables is not None and swap:
        raise ParamsInvalid("--tables and --swap exclude each other: some tables alone are no live database.")
    if to is not None and swap:
        raise ParamsInvalid("--to and --swap exclude each other: with --swap it gets the live database's name.")
    if backup_id is None and not may_ask:
        raise ParamsInvalid("Without a terminal, name the backup to restore; `k9ops backup list` shows them.")
    if swap and not yes and not may_ask:
        raise ParamsInvalid("Without a terminal, --swap needs --yes.")


def _make_name(settings: Settings, backup: Backup) -> str:
    stamp = f"{backup.created_at.astimezone(UTC):%Y%m%dt%H%M%Sz}"
    return cut_name(str(settings.sqlalchemy_url.database), f"_restored_{stamp}_{uuid.uuid4().hex[:4]}")


def _restore_files(
    settings: Settings, backup: Backup, into: Path, keys: PrivateKeys | None, *, is_silent: bool
) -> UploadsReport:
    with show_progress(f"Restoring files into {into}", is_silent=is_silent) as display:
        execution = Execution(report_progress=display.report)
        report = restore_uploads(settings, backup, into=into, execution=execution, keys=keys)
    if not is_silent:
        print_text(f"{report.files:,} files of {format_bytes(report.size_bytes)} are restored into {report.folder}.")
        if report.links:
            print_remark(f"{report.links} links are not restored.")
        if report.missing:
            print_remark(f"{report.missing} names could not be stored when the backup was made.")
    return report


def _restore(
    settings: Settings,
    backup: Backup,
    name: str,
    *,
    keys: PrivateKeys | None,
    tables: str | None,
    keep_days: int | None,
    reason: str | None,
    is_silent: bool,
) -> RestoreReport:
    chosen = None if tables is None else [part.strip() for part in tables.split(",") if part.strip()]
    with show_progress(f"Restoring into {name}", is_silent=is_silent) as display:
        return restore_backup(
            settings,
            backup,
            database=name,
            execution=Execution(report_progress=display.report),
            keys=keys,
            tables=chosen,
            keep_days=keep_days,
            actor=name_requester(),
            origin=name_here(),
            reason=reason,
        )


def _compare(settings: Settings, report: RestoreReport, *, contents: bool, is_silent: bool) -> Comparison | None:
    if report.database == settings.sqlalchemy_url.database:
        return None
    try:
        return compare_here(settings, report.database, contents=contents, is_silent=is_silent, tables=report.tables)
    except (DatabaseUnavailable, DatabaseInvalid) as exc:
        print_remark(f"It could not be compared with the live database: {exc.user_message}")
        return None


def compare_here(
    settings: Settings, database: str, *, contents: bool, is_silent: bool, tables: tuple[str, ...] | None = None
) -> Comparison:
    """Compare a database with the live one, showing how far it is."""
    options: dict[str, Any] = {"contents": contents, "actor": name_requester(), "origin": name_here(), "tables": tables}
    with show_progress("Comparing with the live database", is_silent=is_silent) as display:
        execution = Execution(report_progress=display.report)
        return compare_with_live(settings, database=database, execution=execution, **options)
