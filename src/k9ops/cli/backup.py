"""`k9ops backup`: make, look at, verify, pin and prune backups."""

from __future__ import annotations

from typing import Annotated

import typer

from k9ops.backups.catalogue import list_backups, load_backup, uploads_files_of
from k9ops.backups.catalogue import pin as pin_backup
from k9ops.backups.catalogue import unpin as unpin_backup
from k9ops.backups.jobs import retain
from k9ops.backups.uploads_read import read_index
from k9ops.backups.verify import verify_backup
from k9ops.broker.jobs import find_actor
from k9ops.cli.backup_restore import restore
from k9ops.cli.backup_swap import databases, drop, swap, undo
from k9ops.cli.backup_view import (
    backup_document,
    entry_document,
    print_backup,
    print_backups,
    print_decisions,
    print_entries,
    print_verification,
)
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.follow import find_follow_ups
from k9ops.cli.inline import execute_here, run_here
from k9ops.cli.jobs import SUCCESS_STATES
from k9ops.cli.names import BackupId, Reason, load_broker
from k9ops.cli.output import JsonFlag, print_json, print_remark, print_text
from k9ops.cli.private_key import IdentityOption, require_keys, take_keys
from k9ops.cli.progress import show_progress
from k9ops.cli.run_view import print_outcome, run_dict
from k9ops.cli.session import audit_backup, open_settings
from k9ops.db.engine import get_engine
from k9ops.errors import ParamsInvalid
from k9ops.outcome import Execution

app = typer.Typer(help="Make, verify, restore and prune backups.", no_args_is_help=True)
app.command("restore")(restore)
app.command("swap")(swap)
app.command("undo")(undo)
app.command("databases")(databases)
app.command("drop")(drop)


@app.command("create")
def create(
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Restore and compare it here, or leave that to a worker.")
    ] = True,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a backup now, in this process, whatever the application's schedule says, and verify it.

    Every step is a recorded run. Redis is not needed. Exits 1 unless every step succeeded.
    """
    settings, broker, engine = open_settings(), load_broker(), get_engine()
    actor = find_actor(broker, "create_backup")
    params = {"only_if_enabled": False}
    runs = [run_here(engine, broker, settings, actor, params, reason=reason, is_silent=as_json)]
    if not as_json:
        print_outcome(runs[0])
    waiting = find_follow_ups(engine, runs[0]) if verify else []
    while waiting:
        run = execute_here(engine, broker, settings, waiting.pop(0).id, is_silent=as_json)
        runs.append(run)
        if not as_json:
            print_outcome(run)
        waiting += find_follow_ups(engine, run)
    if as_json:
        print_json({"runs": [run_dict(run) for run in runs]})
    elif not verify:
        print_remark("A worker verifies it; until then it counts as unverified.")
    if any(run.state not in SUCCESS_STATES for run in runs):
        raise typer.Exit(EXIT_FAILED)


@app.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the backups, newest first. Needs no database."""
    settings = open_settings()
    listing = list_backups(settings.backup_dir)
    if as_json:
        problems = [{"name": item.name, "reason": item.reason} for item in listing.problems]
        print_json({"backups": [backup_document(item) for item in listing.backups], "problems": problems})
    else:
        print_backups(listing, settings.zone)


@app.command("show")
def show(backup_id: BackupId, as_json: JsonFlag = False) -> None:
    """Show one backup: file, digest, verification and the rows of every table. Needs no database."""
    settings = open_settings()
    backup = load_backup(settings.backup_dir, backup_id)
    if as_json:
        print_json(backup_document(backup))
    else:
        print_backup(backup, settings.zone)


@app.command("files")
def files(
    backup_id: BackupId,
    missing: Annotated[bool, typer.Option("--missing", help="Only what could not be stored, with the reason.")] = False,
    identity: IdentityOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the uploads of a backup; with --missing, what could not be stored and why. Needs no database."""
    settings = open_settings()
    backup = load_backup(settings.backup_dir, backup_id)
    if not uploads_files_of(backup):
        raise ParamsInvalid(f"Backup {backup.backup_id} has no uploads.")
    entries = read_index(backup, require_keys(settings, backup, identity))
    chosen = (entry for entry in entries if entry.problem is not None or not missing)
    if as_json:
        print_json({"backup_id": backup.backup_id, "files": [entry_document(entry) for entry in chosen]})
    else:
        print_entries(chosen)


@app.command("verify")
def verify_command(backup_id: BackupId, identity: IdentityOption = None, as_json: JsonFlag = False) -> None:
    """Restore a backup into a scratch database and compare every table; exits 1 unless it is verified.

    An encrypted backup is restored with its private key; without it only its digest is proven.
    """
    settings = open_settings()
    backup = load_backup(settings.backup_dir, backup_id)
    keys = take_keys(identity)
    with show_progress(f"Verifying {backup.backup_id}", is_silent=as_json) as display:
        execution = Execution(report_progress=display.report)
        verification = verify_backup(settings, backup, execution=execution, keys=keys)
    if as_json:
        print_json({"backup_id": backup.backup_id, "verification": verification.model_dump(mode="json")})
    else:
        print_verification(verification, settings.zone)
    if verification.state != "verified":
        raise typer.Exit(EXIT_FAILED)


@app.command("pin")
def pin(
    backup_id: BackupId,
    reason: Annotated[str, typer.Option("--reason", help="Why it must stay; shown in lists.")],
    as_json: JsonFlag = False,
) -> None:
    """Keep a backup whatever its age."""
    settings = open_settings()
    if not reason.strip():
        raise ParamsInvalid("--reason: it must say why the backup must stay.")
    backup = pin_backup(load_backup(settings.backup_dir, backup_id), reason.strip())
    audit_backup(settings, "pin", backup.backup_id, reason=reason.strip())
    if as_json:
        print_json(backup_document(backup))
    else:
        print_text(f"Backup {backup.backup_id} is pinned: {reason.strip()}")


@app.command("unpin")
def unpin(backup_id: BackupId, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Let retention decide about a backup again."""
    settings = open_settings()
    backup = unpin_backup(load_backup(settings.backup_dir, backup_id))
    audit_backup(settings, "unpin", backup.backup_id, reason=reason)
    if as_json:
        print_json(backup_document(backup))
    else:
        print_text(f"Backup {backup.backup_id} is not pinned.")


@app.command("prune")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Delete the backups that the retention policy no longer keeps; a recorded run."""
    settings, engine = open_settings(), get_engine()
    if dry_run:
        evidence = dict(retain(settings, engine, dry_run=True).evidence)
    else:
        broker = load_broker()
        actor = find_actor(broker, "apply_retention")
        run = run_here(engine, broker, settings, actor, {}, reason=reason, is_silent=as_json)
        if run.state not in SUCCESS_STATES or run.evidence is None:
            print_outcome(run)
            raise typer.Exit(EXIT_FAILED)
        evidence = run.evidence
    if as_json:
        print_json(evidence)
    else:
        print_decisions(evidence)
