"""Who may enter the dashboard: accounts with a role, their passwords, and failed logins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Engine, text

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors
from k9ops.errors import AccountInvalid

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_NAME = re.compile(r"[\w.@-]{1,80}")
_SHORTEST_PASSWORD = 10
_LONGEST_PASSWORD = 256
_FAILURES_OF_NAME = 5
_FAILURES_OF_ADDRESS = 20
_WINDOW = "15 minutes"
_hasher = PasswordHasher()


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    """Return what takes the time of a real hash, so that an unknown name is not told by the clock."""
    return _hasher.hash("no account has this password")


@dataclass(frozen=True)
class Account:
    """A person who may enter.

    Attributes:
        name: What they type, and what the audit says.
        role: `viewer` looks, `operator` acts, `admin` also downloads backups and reads the audit.
        language: `ar` or `en`.
        created_at: Aware UTC.
    """

    name: str
    role: Role
    language: str
    created_at: datetime

    def may(self, role: Role) -> bool:
        """Tell whether this account has a role, or one above it."""
        return ROLES.index(self.role) >= ROLES.index(role)


def list_accounts(engine: Engine) -> list[Account]:
    """Return every account, by name."""
    statement = text("SELECT name, role, language, created_at FROM k9ops.web_account ORDER BY name")
    with database_errors(), engine.begin() as connection:
        return [Account(*row) for row in connection.execute(statement)]


def add_account(engine: Engine, name: str, password: str, role: str, *, by: str, origin: str) -> None:
    """Make an account.

    Raises:
        AccountInvalid: It exists already, or name, password or role are not what they must be.
    """
    if not _NAME.fullmatch(name):
        raise AccountInvalid(f"{name!r}: a name has 1 to 80 letters, digits and . _ @ -")
    statement = text("""
        INSERT INTO k9ops.web_account (name, password_hash, role) VALUES (:name, :hash, :role)
        ON CONFLICT DO NOTHING RETURNING name
    """)
    values = {"name": name, "hash": _hasher.hash(check_password(password)), "role": check_role(role)}
    with database_errors(), engine.begin() as connection:
        if connection.execute(statement, values).first() is None:
            raise AccountInvalid(f"There is an account {name} already.")
        _audit(connection, "add", name, by=by, origin=origin, after={"role": role})


def remove_account(engine: Engine, name: str, *, by: str, origin: str) -> None:
    """Remove an account; its sessions end with it.

    Raises:
        AccountInvalid: There is none of this name.
    """
    statement = text("DELETE FROM k9ops.web_account WHERE name = :name RETURNING role")
    with database_errors(), engine.begin() as connection:
        role = connection.execute(statement, {"name": name}).scalar()
        if role is None:
            raise AccountInvalid(f"There is no account {name}.")
        _audit(connection, "remove", name, by=by, origin=origin, before={"role": role})


def set_password(engine: Engine, name: str, password: str, *, by: str, origin: str) -> None:
    """Give an account another password, and end its sessions.

    Raises:
        AccountInvalid: There is none of this name, or the password is too short.
    """
    _change(engine, name, "password_hash", _hasher.hash(check_password(password)), by=by, origin=origin)


def set_role(engine: Engine, name: str, role: str, *, by: str, origin: str) -> None:
    """Give an account another role, and end its sessions.

    Raises:
        AccountInvalid: There is none of this name, or no such role.
    """
    _change(engine, name, "role", check_role(role), by=by, origin=origin)


def set_language(engine: Engine, name: str, language: str) -> None:
    """Remember the language that a person reads, `ar` or `en`."""
    statement = text("UPDATE k9ops.web_account SET language = :language WHERE name = :name")
    with database_errors(), engine.begin() as connection:
        connection.execute(statement, {"name": name, "language": language})


def check_password(password: str) -> str:
    """Return a password that is long enough.

    Raises:
        AccountInvalid: It is not.
    """
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise AccountInvalid(f"A password has {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters.")
    return password


def check_role(role: str) -> Role:
    """Return a role.

    Raises:
        AccountInvalid: It is none.
    """
    if role not in ROLES:
        raise AccountInvalid(f"{role!r}: the role must be one of {', '.join(ROLES)}.")
    return role


def find_account(engine: Engine, name: str) -> Account | None:
    """Return an account, None when there is none of this name."""
    statement = text("SELECT name, role, language, created_at FROM k9ops.web_account WHERE name = :name")
    with database_errors(), engine.begin() as connection:
        row = connection.execute(statement, {"name": name}).first()
    return Account(*row) if row else None


def is_throttled(engine: Engine, name: str, address: str) -> bool:
    """Tell whether too many logins failed lately, for this name or from this address."""
    statement = text(f"""
        SELECT count(*) FILTER (WHERE name = :name), count(*) FILTER (WHERE address = :address)
        FROM k9ops.web_login_failure WHERE at > now() - interval '{_WINDOW}'
    """)
    with database_errors(), engine.begin() as connection:
        of_name, of_address = connection.execute(statement, {"name": name[:80], "address": address}).one()
    return bool(of_name >= _FAILURES_OF_NAME or of_address >= _FAILURES_OF_ADDRESS)


def authenticate(engine: Engine, name: str, password: str, *, address: str) -> Account | None:
    """Return the account whose password this is; None, with the failure noted, when it is none's."""
    find = text("SELECT password_hash FROM k9ops.web_account WHERE name = :name")
    with database_errors(), engine.begin() as connection:
        stored = connection.execute(find, {"name": name}).scalar()
    try:
        is_right = _hasher.verify(stored or _dummy_hash(), password[: _LONGEST_PASSWORD + 1]) and stored is not None
    except (VerificationError, InvalidHashError):
        is_right = False
    account = find_account(engine, name) if is_right else None
    with database_errors(), engine.begin() as connection:
        connection.execute(text(f"DELETE FROM k9ops.web_login_failure WHERE at < now() - interval '{_WINDOW}'"))
        if account is None:
            note = text("INSERT INTO k9ops.web_login_failure (name, address) VALUES (:name, :address)")
            connection.execute(note, {"name": name[:80], "address": address})
    return account


def _change(engine: Engine, name: str, column: str, value: str, *, by: str, origin: str) -> None:
    statement = text(f"UPDATE k9ops.web_account SET {column} = :value WHERE name = :name RETURNING name")
    with database_errors(), engine.begin() as connection:
        if connection.execute(statement, {"name": name, "value": value}).first() is None:
            raise AccountInvalid(f"There is no account {name}.")
        connection.execute(text("DELETE FROM k9ops.web_session WHERE account = :name"), {"name": name})
        is_role = column == "role"
        action = "change_role" if is_role else "change_password"
        _audit(connection, action, name, by=by, origin=origin, after={"role": value} if is_role else None)


def _audit(
    connection: Connection,
    action: str,
    name: str,
    *,
    by: str,
    origin: str,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> None:
    event = AuditEvent(
        actor=by, action=action, target_type="web_account", target_id=name, origin=origin, before=before, after=after
    )
    append_event(connection, event)
