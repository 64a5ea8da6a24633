"""Names that are typed on a command line, completed by the shell."""

from __future__ import annotations

from typing import Annotated

import dramatiq
import typer

from k9ops.backups.catalogue import list_backups
from k9ops.config.settings import get_settings
from k9ops.errors import K9opsError


def load_broker() -> dramatiq.Broker:
    """Return the broker with every job declared; nothing is connected yet."""
    from k9ops.actors import broker  # reads the settings, so not before a command asks for it

    return broker


def _complete_job(incomplete: str) -> list[str]:
    try:
        return sorted(name for name in load_broker().get_declared_actors() if name.startswith(incomplete))
    except K9opsError:
        return []


def _complete_backup(incomplete: str) -> list[str]:
    try:
        backups = list_backups(get_settings().backup_dir).backups
    except (K9opsError, OSError):
        return []
    return [backup.backup_id for backup in backups if backup.backup_id.startswith(incomplete)]


JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Name of a job, e.g. create_backup.", autocompletion=_complete_job)
]
BackupId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of a backup, or the beginning of one.", autocompletion=_complete_backup),
]
OptionalBackupId = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        help="Id of a backup, or the beginning of one; without it you choose from a list.",
        autocompletion=_complete_backup,
        show_default=False,
    ),
]
SideName = Annotated[
    str, typer.Argument(metavar="NAME", help="A database that `k9ops backup databases` lists.", show_default=False)
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the audit.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="Id of a run, or the beginning of one.")]
