"""Scratch databases: each belongs to the session that holds its lock, and goes when that session has gone.

The name carries the oid of the database from which it was made, as advisory locks are those of one database: so
two installations in one server never judge each other's scratch databases.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg

from k9ops.backups.connections import Session
from k9ops.backups.databases import create_database, drop_database
from k9ops.backups.manifest import DatabaseShape
from k9ops.config.logging import get_logger
from k9ops.errors import DatabaseInvalid

_PREFIX = "k9ops_scratch_"

log = get_logger("k9ops.backups")


@contextlib.contextmanager
def scratch_database(session: Session, shape: DatabaseShape) -> Iterator[str]:
    """Make an empty database for the time of the block, and yield its name.

    It is locked before it exists, so that nobody can take it for a stale one in between. A database that was
    renamed in the block stays.

    Raises:
        DatabaseInvalid: The role may not create databases, or the server cannot make one of this shape.
        DatabaseUnavailable: The server went away.
    """
    name = f"{_own_prefix(session)}{secrets.token_hex(4)}"
    session.execute("SELECT pg_advisory_lock(%s)", [_lock_key(name)])
    try:
        create_database(session, name, shape)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise DatabaseInvalid("The database role may not create databases.", reason=str(exc)) from exc
    except (psycopg.DataError, psycopg.ProgrammingError) as exc:
        message = f"The server cannot make such a database: {exc.diag.message_primary}."
        raise DatabaseInvalid(message, reason=str(exc)) from exc
    try:
        yield name
    finally:
        # A session that broke has freed the lock: the next sweep drops the database.
        with contextlib.suppress(psycopg.Error):
            drop_database(session, name)
            session.execute("SELECT pg_advisory_unlock(%s)", [_lock_key(name)])


def drop_stale_scratch_databases(session: Session) -> tuple[str, ...]:
    """Drop the scratch databases of sessions that have gone.

    Returns:
        Their names.
    """
    rows = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [_own_prefix(session)]
    ).fetchall()
    return tuple(name for (name,) in rows if _drop_if_free(session, name))


def _drop_if_free(session: Session, name: str) -> bool:
    row: Any = session.execute("SELECT pg_try_advisory_lock(%s)", [_lock_key(name)]).fetchone()
    if not row[0]:
        return False
    try:
        drop_database(session, name)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse) as exc:
        log.warning("scratch_database.kept", database=name, reason=str(exc))
        return False
    finally:
        session.execute("SELECT pg_advisory_unlock(%s)", [_lock_key(name)])
    log.warning("scratch_database.dropped", database=name)
    return True


def _own_prefix(session: Session) -> str:
    row: Any = session.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    return f"{_PREFIX}{row[0]}_"


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
