"""Pages of runs, however many there are: each begins where the one before ended."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.ledger.model import RUN_COLUMNS, Run, run_from_row

#: A text is looked for in this many of the newest runs that fit the rest of a filter.
SEARCHED_RUNS = 20_000


@dataclass(frozen=True)
class RunFilter:
    """Which runs; None means any.

    Attributes:
        job: Of this job.
        queue: Of this queue; looked for in the newest `SEARCHED_RUNS` only.
        state: In this state.
        since: Created at or after this moment, aware.
        until: Created before this moment, aware.
        words: Its message, error or traceback has this text; looked for in the newest `SEARCHED_RUNS` only.
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
    """

    runs: list[Run]
    next_before: tuple[datetime, uuid.UUID] | None


def read_run_page(
    engine: Engine, wanted: RunFilter, *, before: tuple[datetime, uuid.UUID] | None = None, limit: int = 50
) -> RunPage:
    """Return a page of runs.

    Args:
        engine: The ledger's database.
        wanted: Which runs.
        before: `next_before` of the page before.
        limit: Size of a page.
    """
    conditions, values = describe_filter(replace(wanted, queue=None, words=None))
    values["limit"] = limit + 1
    if before is not None:
        conditions.append("(created_at, id) < (:before_at, :before_id)")
        values |= {"before_at": before[0], "before_id": before[1]}
    chosen = f"SELECT {RUN_COLUMNS} FROM k9ops.run WHERE {' AND '.join(conditions)} ORDER BY created_at DESC, id DESC"
    if wanted.words or wanted.queue:
        searched, more = describe_filter(RunFilter(queue=wanted.queue, words=wanted.words))
        values |= more | {"searched": SEARCHED_RUNS}
        chosen = f"""
            SELECT * FROM ({chosen} LIMIT :searched) AS run WHERE {" AND ".join(searched)}
            ORDER BY created_at DESC, id DESC
        """
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(text(f"{chosen} LIMIT :limit"), values).mappings().all()
    runs = [run_from_row(row) for row in rows]
    last = runs[limit - 1] if len(runs) > limit else None
    return RunPage(runs[:limit], (last.created_at, last.id) if last else None)


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
