"""Proving that no audit entry was changed, removed or moved since it was written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, text

from k9ops.db.engine import database_errors
from k9ops.errors import DatabaseInvalid

START = bytes(32)
_ROWS_AT_ONCE = 5_000
# How far away a moved entry is looked for.
_MOVED_WITHIN = 10_000

# The text of a jsonb value is the same wherever it is stored.
_ROWS = text("""
    SELECT id, previous_hash, hash, at, actor, origin, action, target_type, target_id, reason, before::text AS before,
           after::text AS after, run_id::text AS run_id
    FROM k9ops.audit_event ORDER BY id
""")
_HEAD = text("SELECT chain_id::text AS chain_id, last_id, hash FROM k9ops.audit_head")

ProblemKind = Literal["changed", "removed", "moved", "added"]


@dataclass(frozen=True)
class Anchor:
    """Where the chain stood at some moment, noted outside the database.

    Attributes:
        chain_id: Which chain: a restored copy of a database begins another.
        last_id: Number of the newest entry; 0 when there was none.
        hash: Its hash, hexadecimal.
        noted_in: Where, for a person.
    """

    chain_id: str
    last_id: int
    hash: str
    noted_in: str


@dataclass(frozen=True)
class ChainProblem:
    """The first entry that is not as it was written.

    Attributes:
        entry_id: Its number.
        kind: What became of it.
        message: For a person.
    """

    entry_id: int
    kind: ProblemKind
    message: str


@dataclass(frozen=True)
class ChainReport:
    """What a verification found.

    Attributes:
        entries: Entries that were read and found whole, before the first problem.
        last_id: Number of the newest.
        hash: Its hash, hexadecimal: a note of it elsewhere proves everything up to it.
        chain_id: Of the chain.
        anchors: Notes elsewhere that agree.
        other_anchors: Notes of chains that are not this database's: it was restored since, or they are another's.
        problem: None when all is as it was written.
    """

    entries: int
    last_id: int
    hash: str
    chain_id: str
    anchors: int
    other_anchors: int
    problem: ChainProblem | None


@dataclass(frozen=True)
class Entry:
    """An audit entry as it was read.

    Attributes:
        id: Its number.
        previous_hash: That it carries of the one before.
        hash: Its own.
        fields: As `hash_entry` takes them.
        ends_chain: The chain that ends before it, where it begins another.
    """

    id: int
    previous_hash: bytes
    hash: bytes
    fields: tuple[str | None, ...]
    ends_chain: str | None = None


def hash_entry(previous_hash: bytes, entry_id: int, fields: Sequence[str | None]) -> bytes:
    """Return the SHA-256 of an entry, as the table's trigger computes it.

    The form: the hash of the entry before, then the number and each value as an SQL literal, joined by commas; see
    `quote_nullable` in PostgreSQL's manual, "String Functions and Operators".

    Args:
        previous_hash: Of the entry before; 32 zero bytes for the first.
        entry_id: Its number.
        fields: The moment (UTC, microseconds, `Z`), actor, origin, action, target_type, target_id, reason, before and
            after as PostgreSQL writes jsonb, run_id.

    Example:
        >>> hash_entry(bytes(32), 1, ["a", None]).hex()[:8]
        '412efa54'
    """
    written = ",".join(_write_literal(value) for value in (str(entry_id), *fields))
    return hashlib.sha256(previous_hash + written.encode()).digest()


def _write_literal(value: str | None) -> str:
    if value is None:
        return "NULL"
    quoted = value.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def verify_chain(engine: Engine, anchors: Iterable[Anchor] = ()) -> ChainReport:
    """Read every entry and compare it with its hash, with its neighbours, with the head and with notes elsewhere.

    Args:
        engine: The database.
        anchors: Notes of where the chain stood, e.g. from the manifests of backups.

    Raises:
        DatabaseInvalid: The tables of k9ops are missing, or older than the chain.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.connect() as plain:
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            if connection.scalar(text("SELECT to_regclass('k9ops.audit_head')")) is None:
                raise DatabaseInvalid("There is no audit chain yet: run `k9ops db upgrade`.")
            head = connection.execute(_HEAD).one()
            noted = Anchor(head.chain_id, head.last_id, head.hash.hex(), "the head")
            with contextlib.closing(_read(connection)) as entries:
                return check_entries(entries, head=noted, anchors=anchors)


def check_entries(entries: Iterable[Entry], *, head: Anchor, anchors: Iterable[Anchor] = ()) -> ChainReport:
    """Compare entries with their hashes, their neighbours, the head and notes elsewhere.

    Args:
        entries: All of them, in the order of their numbers.
        head: What the database has noted of the newest.
        anchors: Notes elsewhere.
    """
    return _Verification(head, anchors).check(entries)


class _Verification:
    """One pass over the entries in the order of their numbers."""

    def __init__(self, head: Anchor, anchors: Iterable[Anchor]) -> None:
        self._head = head
        self._anchors: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.last_id, []).append(anchor)
        self._seen: dict[int, bytes] = {0: START}
        self._ends: dict[str, int] = {}
        self._entries = 0
        self._last = (0, START)

    def check(self, entries: Iterable[Entry]) -> ChainReport:
        problem = next((found for entry in entries if (found := self._check_entry(entry))), None)
        agreeing, others, differing = self._compare_anchors()
        if problem is None:
            problem = differing or self._compare_head()
        return ChainReport(
            entries=self._entries,
            last_id=self._last[0],
            hash=self._last[1].hex(),
            chain_id=self._head.chain_id,
            anchors=agreeing,
            other_anchors=others,
            problem=problem,
        )

    def _check_entry(self, entry: Entry) -> ChainProblem | None:
        last_id, last_hash = self._last
        if entry.id != last_id + 1:
            return _removed(last_id + 1, entry.id - 1)
        if hash_entry(entry.previous_hash, entry.id, entry.fields) != entry.hash:
            return _find_move(entry) or ChainProblem(
                entry.id, "changed", f"Entry {entry.id} was changed: it does not have the hash it was written with."
            )
        if entry.previous_hash != last_hash:
            # It is whole in itself, so what it follows is not what it followed when it was written.
            changed = max(last_id, 1)
            return ChainProblem(
                changed, "changed", f"Entry {changed} was replaced: the one after it was written after another one."
            )
        self._entries += 1
        self._last = (entry.id, entry.hash)
        if entry.id in self._anchors:
            self._seen[entry.id] = entry.hash
        if entry.ends_chain:
            self._ends[entry.ends_chain] = entry.id - 1
        return None

    def _compare_head(self) -> ChainProblem | None:
        head_id = self._head.last_id
        last_id, last_hash = self._last
        if last_id < head_id:
            return _removed(last_id + 1, head_id)
        if last_id > head_id:
            return ChainProblem(head_id + 1, "added", f"Entry {head_id + 1} was added without being linked.")
        if last_hash.hex() != self._head.hash:
            return ChainProblem(last_id, "changed", f"Entry {last_id} was replaced: the head has another hash.")
        return None

    def _compare_anchors(self) -> tuple[int, int, ChainProblem | None]:
        agreeing, others, good_id = 0, 0, 0
        last_id = self._last[0]
        for anchor in (anchor for number in sorted(self._anchors) for anchor in self._anchors[number]):
            until = self._ends.get(anchor.chain_id, math.inf if anchor.chain_id == self._head.chain_id else -1)
            if anchor.last_id > until:
                others += 1
            elif anchor.last_id > last_id:
                return agreeing, others, _removed(last_id + 1, anchor.last_id, anchor.noted_in)
            elif self._seen[anchor.last_id].hex() != anchor.hash:
                first = good_id + 1
                words = f"Entry {first}" if first == anchor.last_id else f"An entry from {first} to {anchor.last_id}"
                message = f"{words} was replaced: {anchor.noted_in} has noted another hash."
                return agreeing, others, ChainProblem(first, "changed", message)
            else:
                agreeing, good_id = agreeing + 1, max(good_id, anchor.last_id)
        return agreeing, others, None


def _read(connection: Connection) -> Generator[Entry]:
    with connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_ROWS) as rows:
        yield from map(_entry_from_row, rows)


def _entry_from_row(row: Row[Any]) -> Entry:
    begins = row.action == "begin_chain" and row.target_type == "audit_chain"
    return Entry(
        row.id,
        bytes(row.previous_hash),
        bytes(row.hash),
        fields=(
            _write_moment(row.at),
            row.actor,
            row.origin,
            row.action,
            row.target_type,
            row.target_id,
            row.reason,
            row.before,
            row.after,
            row.run_id,
        ),
        ends_chain=json.loads(row.before)["chain_id"] if begins else None,
    )


def _write_moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _find_move(entry: Entry) -> ChainProblem | None:
    first = max(1, entry.id - _MOVED_WITHIN)
    for number in range(first, entry.id + _MOVED_WITHIN):
        if hash_entry(entry.previous_hash, number, entry.fields) == entry.hash:
            return ChainProblem(entry.id, "moved", f"Entry {entry.id} was moved: it was written as entry {number}.")
    return None


def _removed(first: int, last: int, noted_in: str | None = None) -> ChainProblem:
    words = f"Entry {first} was removed" if first == last else f"Entries {first} to {last} were removed"
    return ChainProblem(first, "removed", f"{words}{f', as {noted_in} shows' if noted_in else ''}.")
