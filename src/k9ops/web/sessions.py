"""Browsers that have entered: a row each, so that a logout, a new role or a removal ends what a cookie opens."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.web.accounts import Account


@dataclass(frozen=True)
class WebSession:
    """A browser that has entered.

    Attributes:
        account: Whose it is, as it is now.
        csrf: Every form must send this back.
    """

    account: Account
    csrf: str


def open_session(engine: Engine, account: str, *, hours: int) -> str:
    """Record a browser and return the token of its cookie; expired ones go."""
    token = secrets.token_urlsafe(32)
    statement = text("""
        INSERT INTO k9ops.web_session (token_sha256, account, csrf, expires_at)
        VALUES (:digest, :account, :csrf, now() + make_interval(hours => :hours))
    """)
    values = {"digest": _digest(token), "account": account, "csrf": secrets.token_urlsafe(32), "hours": hours}
    with database_errors(), engine.begin() as connection:
        connection.execute(text("DELETE FROM k9ops.web_session WHERE expires_at < now()"))
        connection.execute(statement, values)
    return token


def find_session(engine: Engine, token: str) -> WebSession | None:
    """Return the session of a cookie; None when it is unknown, was ended or has expired."""
    statement = text("""
        SELECT name, role, language, web_account.created_at, csrf
        FROM k9ops.web_session JOIN k9ops.web_account ON name = account
        WHERE token_sha256 = :digest AND expires_at > now()
    """)
    with database_errors(), engine.begin() as connection:
        row = connection.execute(statement, {"digest": _digest(token)}).first()
    return WebSession(Account(*row[:4]), row[4]) if row else None


def close_session(engine: Engine, token: str) -> None:
    """End a session."""
    with database_errors(), engine.begin() as connection:
        statement = text("DELETE FROM k9ops.web_session WHERE token_sha256 = :digest")
        connection.execute(statement, {"digest": _digest(token)})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
