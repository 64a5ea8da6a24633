"""`k9ops backup restore`: beside the live database, or in its place."""

from __future__ import annotations

import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from k9ops.backups.catalogue import Backup, load_backup, make_backup_id
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.over_live import OverLiveReport, restore_over_live
from k9ops.backups.restore import RestoreReport, restore_backup
from k9ops.backups.uploads_restore import UploadsReport, restore_uploads
from k9ops.cli.names import BackupId
from k9ops.cli.output import JsonFlag, format_bytes, format_duration, print_fields, print_json, print_remark, print_text
from k9ops.cli.private_key import IdentityOption, require_keys
from k9ops.cli.progress import show_progress
from k9ops.cli.session import open_settings
from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid
from k9ops.outcome import Execution


def restore(
    backup_id: BackupId,
    into: Annotated[
        str | None, typer.Option("--into", metavar="NAME", help="Name of the new database.", show_default="made up")
    ] = None,
    over_live: Annotated[
        bool, typer.Option("--over-live", help="Put it in the place of the live database, which is kept, renamed.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="NAME", help="With --over-live: the live database's name, not to be asked."),
    ] = None,
    files_into: Annotated[
        Path | None,
        typer.Option("--files-into", metavar="DIR", help="Restore the uploads too, into this new folder, first."),
    ] = None,
    identity: IdentityOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Restore a backup into a new database beside the live one, and compare every table.

    With --over-live it takes the live database's place: a safety backup is made first, and the live database stays
    under another name.
    """
    settings = open_settings()
    if into is not None and over_live:
        raise ParamsInvalid("--into and --over-live exclude each other.")
    if confirm is not None and not over_live:
        raise ParamsInvalid("--confirm goes with --over-live.")
    backup = load_backup(settings.backup_dir, backup_id)
    keys = require_keys(settings, backup, identity)
    if over_live:
        _confirm(settings, backup, confirm, may_ask=not as_json)
    files = None
    if files_into is not None:
        files = _restore_files(settings, backup, files_into, keys, as_json=as_json)
    if over_live:
        _restore_over_live(settings, backup, keys, files, as_json=as_json)
    else:
        _restore_beside(settings, backup, into or _make_name(settings, backup), keys, files, as_json=as_json)


def _restore_files(
    settings: Settings, backup: Backup, into: Path, keys: PrivateKeys | None, *, as_json: bool
) -> UploadsReport:
    with show_progress(f"Restoring files into {into}", is_silent=as_json) as display:
        execution = Execution(report_progress=display.report)
        report = restore_uploads(settings, backup, into=into, execution=execution, keys=keys)
    if not as_json:
        print_text(f"{report.files:,} files of {format_bytes(report.size_bytes)} are restored into {report.folder}.")
        if report.links:
            print_remark(f"{report.links} links are not restored.")
        if report.missing:
            print_remark(f"{report.missing} names could not be stored when the backup was made.")
    return report


def _make_name(settings: Settings, backup: Backup) -> str:
    stamp = f"{backup.created_at.astimezone(UTC):%Y%m%dt%H%M%Sz}"
    return f"{settings.sqlalchemy_url.database}_restored_{stamp}"


def _confirm(settings: Settings, backup: Backup, given: str | None, *, may_ask: bool) -> None:
    """Make sure that a person means the live database.

    Raises:
        ParamsInvalid: Its name was not typed.
    """
    live = str(settings.sqlalchemy_url.database)
    if given is None:
        if not may_ask or not sys.stdin.isatty():
            raise ParamsInvalid(f"Without a terminal, --over-live needs --confirm {live}.")
        print_remark(
            f"The live database {live} on {settings.sqlalchemy_url.host or 'the local socket'} will be renamed, and"
            f" backup {backup.backup_id} takes its place. Everybody who is connected is disconnected."
        )
        given = typer.prompt(f"Type the name of the live database ({live})", err=True)
    if given != live:
        raise ParamsInvalid(f"{given!r} is not the name of the live database, {live}: nothing was changed.")


def _restore_beside(
    settings: Settings,
    backup: Backup,
    database: str,
    keys: PrivateKeys | None,
    files: UploadsReport | None,
    *,
    as_json: bool,
) -> None:
    with show_progress(f"Restoring into {database}", is_silent=as_json) as display:
        execution = Execution(report_progress=display.report)
        report = restore_backup(settings, backup, database=database, execution=execution, keys=keys)
    if as_json:
        print_json(asdict(report) | ({"uploads": asdict(files)} if files else {}))
        return
    print_text(f"Backup {backup.backup_id} is restored into the new database {report.database}.")
    _print_report(report)


def _restore_over_live(
    settings: Settings, backup: Backup, keys: PrivateKeys | None, files: UploadsReport | None, *, as_json: bool
) -> None:
    safety_backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4())
    with show_progress("Safety backup, then restore", is_silent=as_json) as display:
        execution = Execution(report_progress=display.report)
        report = restore_over_live(settings, backup, execution=execution, safety_backup_id=safety_backup_id, keys=keys)
    if as_json:
        print_json(asdict(report) | ({"uploads": asdict(files)} if files else {}))
        return
    print_text(f"Backup {backup.backup_id} is the live database {report.restore.database} now.")
    _print_report(report.restore)
    _print_way_back(report)


def _print_report(report: RestoreReport) -> None:
    print_fields(
        {
            "compared": f"{report.rows_compared:,} rows of {report.tables_compared} tables, all as in the manifest",
            "took": format_duration(report.duration_s),
            "owners": "as in the backup" if report.keeps_owners else report.owners_note,
        }
    )


def _print_way_back(report: OverLiveReport) -> None:
    print_fields(
        {
            "before": f"kept as database {report.previous_database}",
            "safety backup": report.safety_backup_id,
            "open runs": f"{report.cancelled_runs} of the backup cancelled" if report.cancelled_runs else None,
            "not copied": "; ".join(report.properties_not_copied) or None,
            "undo": f"in database postgres: {report.undo}",
        }
    )
