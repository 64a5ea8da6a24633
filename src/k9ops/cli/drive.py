"""`k9ops drive`: connect Google Drive, look at the copies there, send and fetch one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import RenderableType

from k9ops.backups.application import has_readable_tokens, read_wishes
from k9ops.backups.catalogue import list_backups, load_backup
from k9ops.backups.drive_access import find_credentials, look_for_folder, open_drive, use_folder
from k9ops.backups.drive_consent import check_can_keep, disconnect, keep_consent, seal_credentials
from k9ops.backups.drive_copies import RemoteBackup, list_copies
from k9ops.backups.drive_pull import pull_copy
from k9ops.broker.jobs import find_actor
from k9ops.cli.backup_view import backup_document
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.inline import run_here
from k9ops.cli.jobs import SUCCESS_STATES
from k9ops.cli.names import BackupId, Reason, load_broker
from k9ops.cli.output import (
    JsonFlag,
    format_bytes,
    format_moment,
    print_fields,
    print_json,
    print_remark,
    print_table,
    print_text,
    style_state,
)
from k9ops.cli.progress import show_progress
from k9ops.cli.run_view import print_outcome, run_dict
from k9ops.cli.session import audit_backup, name_here, name_requester, open_settings
from k9ops.config.settings import Settings
from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.drive_records import forget_folder
from k9ops.db.engine import database_errors, get_engine
from k9ops.drive.connect import ask_for_consent, read_client, wait_for_consent
from k9ops.drive.store import Quota, RemoteFile
from k9ops.outcome import Execution

app = typer.Typer(help="Copies of the backups on Google Drive.", no_args_is_help=True)

_SEAL_MEANING = {
    "moved": "The application's Drive credentials are sealed in k9ops' own table, and gone from the application's.",
    "resealed": "The Drive credentials are sealed with the first key of K9OPS_SECRET_KEY now; the other may go.",
    "unchanged": "The Drive credentials are sealed with the first key of K9OPS_SECRET_KEY already.",
}


@app.command("status")
def status(as_json: JsonFlag = False) -> None:
    """Show whether Drive is wanted and connected, the folder, the room, and the newest copy."""
    settings, engine = open_settings(), get_engine()
    wishes, found = read_wishes(engine), find_credentials(settings, engine)
    with open_drive(settings, engine, execution=Execution()) as store:
        quota = store.read_quota()
        folder = look_for_folder(settings, engine, wishes, store)
        copies = [copy for copy in list_copies(store, folder) if copy.is_whole]
    newest = copies[0] if copies else None
    document: dict[str, Any] = {
        "enabled": wishes.google_drive_enabled,
        "credentials": found.origin,
        "readable_in_dumps": has_readable_tokens(engine) and not settings.recipients,
        "account": quota.account,
        "used_bytes": quota.used_bytes,
        "limit_bytes": quota.limit_bytes,
        "folder": _folder_document(folder),
        "copies": len(copies),
        "newest": newest.backup_id if newest else None,
    }
    if as_json:
        print_json(document)
        return
    print_fields(
        {
            "uploads": "on" if wishes.google_drive_enabled else "off, in the application's backup settings",
            "credentials": found.origin + (", readable in every dump" if document["readable_in_dumps"] else ""),
            "account": quota.account,
            "room": _describe_room(quota),
            "folder": _describe_folder(folder),
            "copies": f"{len(copies)}, {format_bytes(sum(copy.size_bytes for copy in copies))}",
            "newest": f"{newest.backup_id}, {newest.verification_state}" if newest else "none",
        }
    )


@app.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the copies on Drive, newest first, and whether each is still what was uploaded."""
    settings, engine = open_settings(), get_engine()
    with open_drive(settings, engine, execution=Execution()) as store:
        copies = list_copies(store, look_for_folder(settings, engine, read_wishes(engine), store))
    states = {copy.backup_id: _compare(settings, copy) for copy in copies}
    if as_json:
        print_json({"copies": [_copy_document(copy, states[copy.backup_id]) for copy in copies]})
        return
    rows: list[list[RenderableType]] = [
        [
            copy.backup_id,
            format_moment(copy.created_at, settings.zone),
            format_bytes(copy.size_bytes),
            style_state(copy.verification_state),
            states[copy.backup_id],
            "yes" if copy.is_pinned else "",
        ]
        for copy in copies
    ]
    columns = ("id", f"data of ({settings.zone.key})", ">size", "state", "copy", "pinned")
    print_table(columns, rows, empty="No backups on Google Drive.")


@app.command("push")
def push(backup_id: BackupId, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Upload a backup now, in this process, whatever the application's settings say; a recorded run."""
    settings, engine, broker = open_settings(), get_engine(), load_broker()
    params = {"backup_id": load_backup(settings.backup_dir, backup_id).backup_id, "only_if_enabled": False}
    actor = find_actor(broker, "upload_backup")
    run = run_here(engine, broker, settings, actor, params, reason=reason, is_silent=as_json)
    if as_json:
        print_json({"run": run_dict(run)})
    else:
        print_outcome(run)
    if run.state not in SUCCESS_STATES:
        raise typer.Exit(EXIT_FAILED)


@app.command("pull")
def pull(
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a backup on Drive, or the beginning of one.")],
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch a backup from Drive into the backup folder and compare its digests."""
    settings, engine = open_settings(), get_engine()
    with show_progress(f"Fetching {backup_id}", is_silent=as_json) as display:
        execution = Execution(report_progress=display.report)
        with open_drive(settings, engine, execution=execution) as store:
            folder = look_for_folder(settings, engine, read_wishes(engine), store)
            backup = pull_copy(settings, store, folder, backup_id, execution=execution)
    audit_backup(settings, "pull", backup.backup_id, reason=reason)
    if as_json:
        print_json(backup_document(backup))
    else:
        size = format_bytes(backup.size_bytes)
        print_text(f"Backup {backup.backup_id} ({size}) is in the folder, with the digest of its manifest.")
        print_remark(f"It counts as unverified here: `k9ops backup verify {backup.backup_id}` restores it to see.")


@app.command("folder")
def folder_command(
    new: Annotated[
        bool, typer.Option("--new", help="Forget the folder that was used, and find or make another.")
    ] = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the folder on Drive; `--new` when it was deleted there."""
    settings, engine = open_settings(), get_engine()
    if new:
        with database_errors(), engine.begin() as connection:
            forget_folder(connection)
            append_event(connection, _describe_change("forget", "drive_folder", reason))
    find = use_folder if new else look_for_folder
    with open_drive(settings, engine, execution=Execution()) as store:
        folder = find(settings, engine, read_wishes(engine), store)
    if as_json:
        print_json({"folder": _folder_document(folder)})
    else:
        print_text(_describe_folder(folder))


@app.command("connect")
def connect(reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Ask for consent with a code that is typed on any other device, and keep it sealed."""
    settings, engine = open_settings(), get_engine()
    check_can_keep(settings)
    client = read_client(settings.oauth_client.get_secret_value())
    timeout_s = float(settings.drive_timeout_s)
    code = ask_for_consent(client, timeout_s=timeout_s)
    print_remark(f"On any device, open {code.url} and type {code.user_code}")
    tokens = wait_for_consent(client, code, timeout_s=timeout_s)
    quota = keep_consent(settings, engine, tokens, event=_describe_change("connect", "drive", reason))
    if as_json:
        print_json({"account": quota.account, "used_bytes": quota.used_bytes, "limit_bytes": quota.limit_bytes})
    else:
        print_text(f"Google Drive of {quota.account} is connected: {_describe_room(quota)}.")


@app.command("seal")
def seal(reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Move the application's Drive credentials into k9ops' own table, sealed; or seal anew after a change of keys."""
    settings, engine = open_settings(), get_engine()
    done = seal_credentials(settings, engine, event=_describe_change("seal", "drive", reason))
    if as_json:
        print_json({"done": done})
    else:
        print_text(_SEAL_MEANING[done])


@app.command("disconnect")
def disconnect_command(reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Take the consent back at Google and forget it here; the copies on Drive stay."""
    settings, engine = open_settings(), get_engine()
    done = disconnect(settings, engine, event=_describe_change("disconnect", "drive", reason))
    if as_json:
        print_json({"credentials": done.origin, "revoked": done.is_revoked})
    else:
        print_text("Google Drive is disconnected. The copies there stay.")
        if not done.is_revoked:
            print_remark("Google did not know the consent any more.")


def _describe_change(action: str, target_type: str, reason: str | None) -> AuditEvent:
    return AuditEvent(
        actor=name_requester(),
        origin=name_here(),
        action=action,
        target_type=target_type,
        target_id="google",
        reason=reason,
    )


def _folder_document(folder: RemoteFile | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    return {"id": folder.file_id, "name": folder.name, "shared_drive_id": folder.shared_drive_id}


def _describe_folder(folder: RemoteFile | None) -> str:
    if folder is None:
        return "none yet; the first upload makes it"
    return f"{folder.name} ({folder.file_id}{', shared drive' if folder.shared_drive_id else ''})"


def _describe_room(quota: Quota) -> str:
    if quota.limit_bytes is None or quota.free_bytes is None:
        return f"{format_bytes(quota.used_bytes)} used, no limit"
    return f"{format_bytes(quota.free_bytes)} free of {format_bytes(quota.limit_bytes)}"


def _compare(settings: Settings, copy: RemoteBackup) -> str:
    """Say what a copy is, beside what the folder knows of it."""
    if not copy.is_whole:
        return "not whole"
    local = {backup.backup_id: backup for backup in list_backups(settings.backup_dir).backups}.get(copy.backup_id)
    if local is None:
        return "only on Drive"
    noted = local.state.drive_copy
    return "as uploaded" if noted is not None and copy.has(noted) else "not compared"


def _copy_document(copy: RemoteBackup, state: str) -> dict[str, Any]:
    return {
        "backup_id": copy.backup_id,
        "created_at": copy.created_at.isoformat(),
        "verification": copy.verification_state,
        "pinned": copy.is_pinned,
        "copy": state,
        "size_bytes": copy.size_bytes,
        "files": [
            {"name": file.name, "file_id": file.file_id, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for file in copy.files
        ],
    }
