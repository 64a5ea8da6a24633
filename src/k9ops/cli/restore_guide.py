"""The questions of a restore on a terminal: which backup, what next, and is this really meant."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Literal

import typer

from k9ops.backups.catalogue import Backup, list_backups
from k9ops.backups.connections import target_of
from k9ops.backups.differences import count_live_rows
from k9ops.backups.restore import RestoreReport, open_maintenance_session
from k9ops.backups.sides import find_side, keep_side
from k9ops.backups.tidying import drop_database_beside
from k9ops.cli.output import print_remark, print_text
from k9ops.cli.progress import show_progress
from k9ops.cli.restore_view import print_choice
from k9ops.cli.session import name_here, name_requester
from k9ops.config.settings import Settings
from k9ops.errors import BackupNotFound, DatabaseInvalid, DatabaseUnavailable, ParamsInvalid
from k9ops.outcome import Execution

Decision = Literal["swap", "keep", "drop"]

_LISTED = 20
_ANSWERS: dict[str, Decision] = {"s": "swap", "k": "keep", "d": "drop", "swap": "swap", "keep": "keep", "drop": "drop"}


def pick_backup(settings: Settings) -> Backup:
    """Let a person choose one of the newest backups.

    Raises:
        BackupNotFound: There is none.
    """
    every = list_backups(settings.backup_dir).backups
    backups = every[:_LISTED]
    if not backups:
        raise BackupNotFound("There is no backup in the backup folder; K9OPS_BACKUP_DIR names another one.")
    print_choice(backups, settings.zone, rows_now=_count_now(settings), now=datetime.now(UTC))
    if len(every) > len(backups):
        print_remark(f"{len(every) - len(backups)} older ones: `k9ops backup list`, then `k9ops backup restore ID`.")
    while True:
        answer = typer.prompt(f"Number of the backup to restore beside the live database (1-{len(backups)})", err=True)
        if answer.strip().isdigit() and 1 <= int(answer) <= len(backups):
            return backups[int(answer) - 1]
        print_remark(f"{answer!r} is none of them. Ctrl-C leaves; nothing has been changed.")


def decide(settings: Settings, report: RestoreReport) -> Decision:
    """Ask what becomes of a restored database, and do it unless it is a swap."""
    name = report.database
    can_swap = report.tables is None
    words = "[s]wap it with the live database, [k]eep it beside, [d]rop it" if can_swap else "[k]eep it, [d]rop it"
    print_remark(f"Nothing that is in use has changed. {name} stands beside the live database.")
    while True:
        decision = _ANSWERS.get(typer.prompt(f"What next? {words}", err=True).strip().lower())
        if decision is not None and (can_swap or decision != "swap"):
            break
    if decision == "keep":
        _keep(settings, name)
        print_text(f"{name} stays until `k9ops backup drop {name}`.")
    elif decision == "drop":
        drop_database_beside(settings, name, actor=name_requester(), origin=name_here())
        print_text(f"{name} is dropped.")
    return decision


def confirm_live(settings: Settings, database: str) -> None:
    """Make sure that a person means the live database.

    Raises:
        ParamsInvalid: Its name was not typed.
    """
    live = str(settings.sqlalchemy_url.database)
    print_remark(
        f"{database} will take the place of the live database {live} on"
        f" {settings.sqlalchemy_url.host or 'the local socket'}. Everybody is disconnected for a moment."
        f" What is live now is kept for {settings.undo_days} days: `k9ops backup undo` brings it back."
    )
    given = typer.prompt(f"Type the name of the live database ({live})", err=True)
    if given != live:
        raise ParamsInvalid(f"{given!r} is not the name of the live database, {live}: it is as it was.")


def require_yes(*, yes: bool, as_json: bool, command: str) -> bool:
    """Return whether to ask.

    Raises:
        ParamsInvalid: There is no terminal to ask on, and `--yes` is missing.
    """
    if yes:
        return False
    if as_json or not sys.stdin.isatty():
        raise ParamsInvalid(f"Without a terminal, `k9ops backup {command}` needs --yes.")
    return True


def _keep(settings: Settings, database: str) -> None:
    live = target_of(settings.sqlalchemy_url, settings).database
    with open_maintenance_session(settings) as session:
        keep_side(session, find_side(session, live, database))


def _count_now(settings: Settings) -> int | None:
    with show_progress("Counting the rows of the live database", is_silent=False):
        try:
            return count_live_rows(settings, execution=Execution())
        except (DatabaseUnavailable, DatabaseInvalid) as exc:
            print_remark(f"The live database cannot be read: {exc.user_message}")
            return None
