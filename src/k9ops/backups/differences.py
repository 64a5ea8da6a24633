"""What differs between the live database as it is now and a restored one, table by table."""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from typing import Literal as OneOf

from psycopg import IsolationLevel
from psycopg.sql import SQL, Composed, Identifier, Literal

from k9ops.backups.audit import record_event
from k9ops.backups.connections import DatabaseTarget, Session, fetch_stoppably, open_session, target_of
from k9ops.backups.snapshot import count_rows, list_tables, table_label
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.outcome import Execution

ChangeState = OneOf["same", "differs", "columns differ", "only live", "only restored"]

_FETCH_ROWS = 10_000

_TEXT_FORM = """
    SET row_security = off; SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY';
    SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; SET xmlbinary = 'base64'
"""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_HASHES = "SELECT hashtextextended(k9ops_row::text, 0) AS hash FROM ONLY {} AS k9ops_row"
# Few rows differ as a rule: only those of the buckets that differ are looked at one by one.
_BUCKET_SUMS = "SELECT hash & 4095, count(*), sum(hash) FROM ({}) AS hashes GROUP BY 1"
_HASHES_OF_BUCKETS = "SELECT hash FROM ({}) AS hashes WHERE hash & 4095 = ANY ({}) ORDER BY 1"

Rows = list[tuple[Any, ...]]

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class TableChange:
    """How a table differs.

    Attributes:
        table: Its label.
        state: `same` means every row, or only their number where contents were not compared.
        live_rows: Rows now; None where the live database has no such table.
        restored_rows: Rows in the restored database; None where that has no such table.
        only_live: Rows that only the live table has, a changed row in its new form included; None where not compared.
        only_restored: Rows that only the restored table has, a changed row in its old form included.
    """

    table: str
    state: ChangeState
    live_rows: int | None
    restored_rows: int | None
    only_live: int | None = None
    only_restored: int | None = None


@dataclass(frozen=True)
class Comparison:
    """All tables of both databases.

    Attributes:
        live: Name of the live database.
        database: Name of the restored one.
        tables: By label.
        compares_contents: Whether rows were compared, or only counted.
        duration_s: Seconds it took.
    """

    live: str
    database: str
    tables: tuple[TableChange, ...]
    compares_contents: bool
    duration_s: float

    @property
    def changes(self) -> tuple[TableChange, ...]:
        """The tables that are not the same."""
        return tuple(change for change in self.tables if change.state != "same")


def compare_with_live(
    settings: Settings,
    *,
    database: str,
    contents: bool,
    execution: Execution,
    actor: str,
    tables: Collection[str] | None = None,
    origin: str | None = None,
    reason: str | None = None,
) -> Comparison:
    """Compare a database with the live one, each in one snapshot; nobody is blocked.

    Args:
        settings: Server.
        database: The other one.
        contents: Compare every row; otherwise only their numbers.
        execution: Asked whether to stop; told the tables compared.
        actor: Who asks for it; stands in the audit entry.
        tables: Labels of the only tables to look at; None is all.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        DatabaseUnavailable: One of them cannot be reached.
        DatabaseInvalid: The role may not read a table.
    """
    started = time.monotonic()
    live = target_of(settings.sqlalchemy_url, settings)
    with _open_snapshot(live) as ours, _open_snapshot(live.with_database(database)) as theirs:
        changes = _Pair(ours, theirs, execution).compare(contents=contents, only=tables)
    done = Comparison(live.database, database, changes, contents, round(time.monotonic() - started, 3))
    facts = {
        "database": database,
        "tables": len(changes),
        "differing": len(done.changes),
        "rows_only_live": sum(change.only_live or 0 for change in changes),
        "rows_only_restored": sum(change.only_restored or 0 for change in changes),
    }
    log.info("restore.compared", duration_s=done.duration_s, **facts)
    record_event(live, actor=actor, action="compare", origin=origin, reason=reason, after=facts)
    return done


def count_live_rows(settings: Settings, *, execution: Execution) -> int:
    """Count the rows of all tables of the live database.

    Raises:
        DatabaseUnavailable: It cannot be reached.
        DatabaseInvalid: The role may not read a table.
    """
    with open_session(target_of(settings.sqlalchemy_url, settings)) as session:
        return sum(count_rows(session, execution=execution).values())


def count_exclusive(left: Iterator[int], right: Iterator[int]) -> tuple[int, int]:
    """Count the numbers that only one of two sorted sequences has; one that stands twice counts twice.

    Example:
        >>> count_exclusive(iter([1, 2, 2, 5]), iter([2, 3]))
        (3, 1)
    """
    only_left = only_right = 0
    ours, theirs = next(left, None), next(right, None)
    while ours is not None and theirs is not None:
        if ours == theirs:
            ours, theirs = next(left, None), next(right, None)
        elif ours < theirs:
            only_left, ours = only_left + 1, next(left, None)
        else:
            only_right, theirs = only_right + 1, next(right, None)
    only_left += (ours is not None) + sum(1 for _ in left)
    only_right += (theirs is not None) + sum(1 for _ in right)
    return only_left, only_right


@contextmanager
def _open_snapshot(target: DatabaseTarget) -> Iterator[Session]:
    """Open a session that sees one moment and changes nothing; no setting of a role or database shapes its texts."""
    with open_session(target) as session:
        session.execute(_TEXT_FORM)
        session.isolation_level = IsolationLevel.REPEATABLE_READ
        session.read_only = True
        session.autocommit = False
        yield session


class _Pair:
    """Both databases, asked at the same time."""

    def __init__(self, live: Session, restored: Session, execution: Execution) -> None:
        self._sessions = (live, restored)
        self._execution = execution

    def compare(self, *, contents: bool, only: Collection[str] | None) -> tuple[TableChange, ...]:
        """Compare every table that one of them has, or only some."""
        ours, theirs = ({table_label(*name): name for name in list_tables(session)} for session in self._sessions)
        labels = sorted(label for label in ours.keys() | theirs.keys() if only is None or label in only)
        changes = []
        with ThreadPoolExecutor(2) as pool:
            for position, label in enumerate(labels):
                self._execution.report_progress(position, len(labels), "tables")
                if label not in theirs:
                    changes.append(TableChange(label, "only live", self._count(0, ours[label]), None))
                elif label not in ours:
                    changes.append(TableChange(label, "only restored", None, self._count(1, theirs[label])))
                else:
                    changes.append(self._compare_table(pool, label, ours[label], contents=contents))
        self._execution.report_progress(len(labels), len(labels), "tables")
        return tuple(changes)

    def _compare_table(
        self, pool: ThreadPoolExecutor, label: str, name: tuple[str, str], *, contents: bool
    ) -> TableChange:
        table = Identifier(*name)
        ours, theirs = self._ask(pool, SQL(_COLUMNS).format(Literal(table.as_string())))
        if ours != theirs or not contents:
            [(live,)], [(restored,)] = self._ask(pool, _count_of(table))
            alike: ChangeState = "same" if live == restored else "differs"
            return TableChange(label, "columns differ" if ours != theirs else alike, live, restored)
        ours, theirs = self._ask(pool, SQL(_BUCKET_SUMS).format(SQL(_HASHES).format(table)))
        live, restored = (sum(rows for _, rows, _ in buckets) for buckets in (ours, theirs))
        differing = sorted({bucket for bucket, *_ in set(ours) ^ set(theirs)})
        if not differing:
            return TableChange(label, "same", live, restored, 0, 0)
        query = SQL(_HASHES_OF_BUCKETS).format(SQL(_HASHES).format(table), Literal(differing))
        with closing(self._stream(0, query)) as our_hashes, closing(self._stream(1, query)) as their_hashes:
            only_live, only_restored = count_exclusive(our_hashes, their_hashes)
        return TableChange(label, "differs", live, restored, only_live, only_restored)

    def _ask(self, pool: ThreadPoolExecutor, query: Composed) -> tuple[Rows, Rows]:
        first, second = (
            pool.submit(fetch_stoppably, session, query, execution=self._execution) for session in self._sessions
        )
        return first.result(), second.result()

    def _count(self, side: int, name: tuple[str, str]) -> int:
        [(rows,)] = fetch_stoppably(self._sessions[side], _count_of(Identifier(*name)), execution=self._execution)
        return int(rows)

    def _stream(self, side: int, query: Composed) -> Generator[int, None, None]:
        with self._sessions[side].cursor(name=f"k9ops_hashes_{side}") as cursor:
            cursor.itersize = _FETCH_ROWS
            for position, (value,) in enumerate(cursor.execute(query)):
                if position % _FETCH_ROWS == 0:
                    self._execution.check_stop()
                yield value


def _count_of(table: Identifier) -> Composed:
    return SQL("SELECT count(*) FROM ONLY {}").format(table)
