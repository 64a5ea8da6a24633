"""The databases that k9ops keeps beside the live one: an undo, or what was restored to be looked at.

Each carries a mark, JSON in its comment, which is written in the transaction that gives the database its name. A
database without a mark, or renamed since by somebody else, is nobody's business here and never dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg.sql import Literal as SqlLiteral
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from k9ops.backups.connections import Session
from k9ops.config.logging import get_logger
from k9ops.errors import DatabaseInvalid

SideKind = Literal["undo", "restored"]
SwapAction = Literal["swap", "undo"]

_KEY = "k9ops_mark"

_SIDES = """
    SELECT datname, shobj_description(oid, 'pg_database'), now(),
           CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END
    FROM pg_database WHERE shobj_description(oid, 'pg_database') IS NOT NULL AND datname <> %s ORDER BY datname
"""

log = get_logger("k9ops.backups")


class SwapRecord(BaseModel):
    """What put one database in the place of another; the audit entry is made from it.

    Attributes:
        swap_id: Unique.
        action: `swap` put a restored database in the place of the live one, `undo` put a former one back.
        at: When, aware UTC.
        actor: Who asked for it.
        origin: From where.
        reason: Why, in that person's words.
        placed: Name that the new live database had before.
        backup_id: What it was restored from; None for an undo of an undo.
        safety_backup_id: Backup of the former database, made just before.
        shared_until: Audit entries from before this moment are in both databases.
        is_settled: Whether the audit entries are where they belong.
    """

    model_config = ConfigDict(frozen=True)

    swap_id: str
    action: SwapAction
    at: AwareDatetime
    actor: str
    placed: str
    shared_until: AwareDatetime
    backup_id: str | None = None
    safety_backup_id: str | None = None
    is_settled: bool = False
    origin: str | None = None
    reason: str | None = None


class Mark(BaseModel):
    """What k9ops knows of a database beside the live one.

    Attributes:
        mark_version: Of this form.
        kind: `undo` was live before; `restored` never was.
        database: Its name when it was marked.
        live: The live database that it belongs to.
        since: When it got this name.
        data_of: The moment at which its data and the live database's were last the same.
        until: From when on it is dropped; None keeps it until a person drops it.
        backup_id: What it was restored from, if known.
        tables: The only tables whose rows were restored; None is all.
        swap: What made it an undo.
        comment: The comment that it had as the live database.
    """

    model_config = ConfigDict(frozen=True)

    mark_version: Literal[1] = 1
    kind: SideKind
    database: str
    live: str
    since: AwareDatetime
    data_of: AwareDatetime
    until: AwareDatetime | None = None
    backup_id: str | None = None
    tables: tuple[str, ...] | None = None
    swap: SwapRecord | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Side:
    """A marked database.

    Attributes:
        mark: Its mark.
        is_expired: Whether its time is over, by the server's clock.
        size_bytes: On the server's disk; None where the role may not know.
    """

    mark: Mark
    is_expired: bool
    size_bytes: int | None

    @property
    def database(self) -> str:
        """Its name."""
        return self.mark.database


def list_sides(session: Session, live: str) -> tuple[Side, ...]:
    """Return the marked databases of a live one, newest first."""
    found = []
    for name, comment, now, size_bytes in session.execute(_SIDES, [live]).fetchall():
        mark = decode_mark(comment)
        if mark is not None and (mark.database, mark.live) == (name, live):
            found.append(Side(mark, _is_over(mark, now), size_bytes))
    return tuple(sorted(found, key=lambda side: side.mark.since, reverse=True))


def find_side(session: Session, live: str, database: str) -> Side:
    """Return a marked database by its name.

    Raises:
        DatabaseInvalid: k9ops keeps no such database beside this live one.
    """
    for side in list_sides(session, live):
        if side.database == database:
            return side
    raise DatabaseInvalid(
        f"{database} is no database that k9ops keeps beside {live}; `k9ops backup databases` lists those."
    )


def find_undos(session: Session, live: str) -> tuple[Side, ...]:
    """Return the former databases that an undo can bring back, newest first."""
    return tuple(side for side in list_sides(session, live) if side.mark.kind == "undo")


def read_comment(session: Session, database: str) -> str | None:
    """Return a database's own comment; a mark, which a rename by hand can leave behind, is not one."""
    row: Any = session.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [database]
    ).fetchone()
    comment = row[0] if row else None
    mark = decode_mark(comment)
    return comment if mark is None else mark.comment


def mark_statement(mark: Mark) -> Composed:
    """Return the statement that marks a database."""
    return comment_statement(mark.database, json.dumps({_KEY: mark.model_dump(mode="json")}, ensure_ascii=False))


def comment_statement(database: str, comment: str | None) -> Composed:
    """Return the statement that sets or removes a database's comment."""
    return SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(database), SqlLiteral(comment))


def decode_mark(comment: str | None) -> Mark | None:
    """Return the mark that a comment holds; None for any other text."""
    try:
        return Mark.model_validate(json.loads(comment or "")[_KEY])
    except (ValueError, TypeError, KeyError, ValidationError):
        return None


def keep_side(session: Session, side: Side) -> None:
    """Let a database stay until a person drops it."""
    session.execute(mark_statement(side.mark.model_copy(update={"until": None})))


def drop_side(session: Session, side: Side) -> None:
    """Drop a marked database that nobody uses.

    Raises:
        DatabaseInvalid: Somebody is connected to it, or the role may not drop it.
    """
    try:
        session.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(side.database)))
    except psycopg.errors.ObjectInUse as exc:
        raise DatabaseInvalid(f"Somebody is connected to {side.database}; it stays.", reason=str(exc)) from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise DatabaseInvalid(f"The database role may not drop {side.database}.", reason=str(exc)) from exc


def _is_over(mark: Mark, now: datetime) -> bool:
    return mark.until is not None and mark.until <= now
