"""Pages of runs, however many there are: each begins where the one before ended."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from k9ops.db.engine import database_errors
from k9ops.ledger.model import RUN_COLUMNS, Run, run_from_row

#: Where a page ends: moment of creation and id of a run.
Place = tuple[datetime, uuid.UUID]

# No index knows queues and texts: a page searches for a while and says how far it came; the next goes on from there.
_CHUNK = 1_000
_SEARCH_S = 0.1


@dataclass(frozen=True)
class RunFilter:
    """Which runs; None means any.

    Attributes:
        job: Of this job.
        queue: Of this queue.
        state: In this state.
        since: Created at or after this moment, aware.
        until: Created before this moment, aware.
        words: Its message, error or traceback has this text, in any case of letters.
    """

    job: str | None = None
    queue: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Return what is asked for, by name, times as ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in vars(self).items()
            if value is not None
        }


@dataclass(frozen=True)
class RunPage:
    """A page of runs, newest first.

    Attributes:
        runs: At most as many as were asked for.
        next_before: Where the next page begins; None on the last.
        searched: For a queue or text that was not looked for in all older runs: how many were searched for this page.
        searched_until: Likewise: when the oldest of them was created.
    """

    runs: list[Run]
    next_before: Place | None
    searched: int | None = None
    searched_until: datetime | None = None


def read_run_page(
    engine: Engine,
    wanted: RunFilter,
    *,
    before: Place | None = None,
    limit: int = 50,
    chunk: int = _CHUNK,
    search_s: float = _SEARCH_S,
) -> RunPage:
    """Return a page of runs.

    Args:
        engine: The ledger's database.
        wanted: Which runs.
        before: `next_before` of the page before.
        limit: Size of a page.
        chunk: For a queue or text: how many runs are searched by one statement.
        search_s: For a queue or text: no further chunk is begun after this time.
    """
    if not wanted.words and not wanted.queue:
        with database_errors(), engine.begin() as connection:
            runs = _read(connection, wanted, before, limit=limit + 1)
        return RunPage(runs[:limit], _place_of(runs[limit - 1]) if len(runs) > limit else None)
    found: list[Run] = []
    ends_at_s = time.monotonic() + search_s
    searched, place = 0, before
    while True:
        with database_errors(), engine.begin() as connection:
            edge = _find_edge(connection, wanted, place, chunk)
            found += _read(connection, wanted, place, limit=limit + 1 - len(found), until=edge)
        searched += chunk
        if len(found) > limit:
            last = _place_of(found[limit - 1])
            return RunPage(found[:limit], last)
        if edge is None:
            return RunPage(found, None)
        place = edge
        if time.monotonic() >= ends_at_s:
            return RunPage(found, edge, searched=searched, searched_until=edge[0])


def describe_filter(wanted: RunFilter) -> tuple[list[str], dict[str, Any]]:
    """Return conditions on the columns of `k9ops.run`, at least one, and their values."""
    asked: dict[str, tuple[str, object]] = {
        "job": ("job = :job", wanted.job),
        "queue": ("queue = :queue", wanted.queue),
        "state": ("state = :state", wanted.state),
        "since": ("created_at >= :since", wanted.since),
        "until": ("created_at < :until", wanted.until),
        "words": (
            "strpos(lower(concat_ws(' ', message, error_class, traceback)), :words) > 0",
            wanted.words.lower() if wanted.words else None,
        ),
    }
    used = {name: item for name, item in asked.items() if item[1] is not None}
    return ["true", *(condition for condition, _ in used.values())], {name: item[1] for name, item in used.items()}


def _read(
    connection: Connection, wanted: RunFilter, before: Place | None, *, limit: int, until: Place | None = None
) -> list[Run]:
    """Return runs, newest first; `until` is the last that is looked at."""
    conditions, values = _describe(wanted, before)
    if until is not None:
        conditions.append("(created_at, id) >= (:until_at, :until_id)")
        values |= {"until_at": until[0], "until_id": until[1]}
    statement = text(f"""
        SELECT {RUN_COLUMNS} FROM k9ops.run WHERE {" AND ".join(conditions)}
        ORDER BY created_at DESC, id DESC LIMIT :limit
    """)
    return [run_from_row(row) for row in connection.execute(statement, values | {"limit": limit}).mappings()]


def _find_edge(connection: Connection, wanted: RunFilter, before: Place | None, chunk: int) -> Place | None:
    """Return the place of the last run of a chunk, by the index alone; None when the runs end within it."""
    conditions, values = _describe(replace(wanted, queue=None, words=None), before)
    statement = text(f"""
        SELECT created_at, id FROM k9ops.run WHERE {" AND ".join(conditions)}
        ORDER BY created_at DESC, id DESC OFFSET :skipped LIMIT 1
    """)
    row = connection.execute(statement, values | {"skipped": chunk - 1}).first()
    return (row[0], row[1]) if row else None


def _describe(wanted: RunFilter, before: Place | None) -> tuple[list[str], dict[str, Any]]:
    conditions, values = describe_filter(wanted)
    if before is not None:
        conditions.append("(created_at, id) < (:before_at, :before_id)")
        values |= {"before_at": before[0], "before_id": before[1]}
    return conditions, values


def _place_of(run: Run) -> Place:
    return run.created_at, run.id


def list_slot_runs(engine: Engine, job: str, *, limit: int) -> list[Run]:
    """Return the runs that a schedule made for its slots, the newest slot first.

    Args:
        engine: The ledger's database.
        job: Of this job; a schedule that shares its job with others has runs without a slot.
        limit: At most this many.
    """
    # By the index of slots: there are few beside the runs that were asked for.
    statement = text(f"""
        SELECT {RUN_COLUMNS} FROM k9ops.run WHERE job = :job AND slot IS NOT NULL AND trigger = 'schedule'
        ORDER BY slot DESC LIMIT :limit
    """)
    with database_errors(), engine.begin() as connection:
        return [run_from_row(row) for row in connection.execute(statement, {"job": job, "limit": limit}).mappings()]
