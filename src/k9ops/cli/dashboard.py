"""The dashboard beside other processes of `k9ops up` and `k9ops demo`: where it answers, and who may enter first."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from sqlalchemy import Engine

from k9ops.cli.services import WebPlan
from k9ops.cli.session import name_here, name_requester
from k9ops.config.settings import Settings
from k9ops.web.accounts import add_account, list_accounts

LOCAL_ACCOUNT = "local"


def plan_dashboard(settings: Settings) -> WebPlan:
    """Plan the dashboard on its port, or on a free one when another program listens there."""
    try:
        return WebPlan(settings.web_host, _bind(settings.web_host, settings.web_port))
    except OSError:
        return WebPlan(settings.web_host, _bind(settings.web_host, 0))


def prepare_first_account(engine: Engine, settings: Settings, folder: Path) -> Path | None:
    """Make an account for the person at this machine, when there is none at all.

    Its password is written to a file in a folder of theirs, for its owner alone, and nowhere else.

    Returns:
        The file, as long as it is there; None when nobody needs it.
    """
    path = folder / "web-password"
    if settings.web_user_header:
        return None
    if not list_accounts(engine):
        password = secrets.token_urlsafe(12)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{password}\n")
        add_account(engine, LOCAL_ACCOUNT, password, "admin", by=name_requester(), origin=name_here())
    return path if path.exists() else None


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        # A port that is only in its time of rest is free, as it is for the server itself.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return int(listener.getsockname()[1])
