"""What most commands begin with: settings, logging, the ledger's database, the person who asks."""

from __future__ import annotations

import os
import pwd

from k9ops.backups.audit import record_event
from k9ops.backups.connections import target_of
from k9ops.cli.output import StandardError
from k9ops.config.logging import configure_logging
from k9ops.config.settings import Settings, get_loaded_settings
from k9ops.config.sources import DEFAULT_ORIGIN
from k9ops.db.audit import name_origin


def open_settings() -> Settings:
    """Return the settings, with the log on standard error.

    The result of a command is what it prints: unless `K9OPS_LOG_LEVEL` is set, only warnings are logged.

    Raises:
        SettingsInvalid: As `load_settings` says.
    """
    loaded = get_loaded_settings()
    is_chosen = loaded.origins["log_level"] != DEFAULT_ORIGIN
    level = loaded.settings.log_level if is_chosen else "warning"
    configure_logging(loaded.settings.model_copy(update={"log_level": level}), stream=StandardError())
    return loaded.settings


def name_here() -> str:
    """Return where a change comes from that is asked for with this command, for the audit."""
    return name_origin("cli")


def name_requester() -> str:
    """Return the operating system's name of the person who runs the command."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def audit_backup(settings: Settings, action: str, backup_id: str, *, reason: str | None) -> None:
    """Note a change to a backup; the folder takes it also while the database is away, and that is logged."""
    record_event(
        target_of(settings.sqlalchemy_url, settings),
        actor=name_requester(),
        action=action,
        target_type="backup",
        target_id=backup_id,
        origin=name_here(),
        reason=reason,
    )
