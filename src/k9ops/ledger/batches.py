"""Many runs recorded at once, by the rules of a single one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import find_twin, insert_run, lock_twins

_ROWS_A_STATEMENT = 1000

_INSERT_ALL = text("""
    INSERT INTO k9ops.run (id, job, queue, params, trigger, requested_by, parent_id, slot, due_at, expires_at,
                           sent_at, sends)
    SELECT new.id, new.job, new.queue, CAST(new.params AS jsonb), new.trigger, new.requested_by, new.parent_id,
           new.slot, coalesce(new.due_at, now()), new.expires_at,
           CASE WHEN :is_sent THEN now() END, CASE WHEN :is_sent THEN 1 ELSE 0 END
    FROM unnest(CAST(:id AS uuid[]), CAST(:job AS text[]), CAST(:queue AS text[]), CAST(:params AS text[]),
                CAST(:trigger AS text[]), CAST(:requested_by AS text[]), CAST(:parent_id AS uuid[]),
                CAST(:slot AS timestamptz[]), CAST(:due_at AS timestamptz[]), CAST(:expires_at AS timestamptz[]))
        AS new (id, job, queue, params, trigger, requested_by, parent_id, slot, due_at, expires_at)
    ON CONFLICT DO NOTHING
    RETURNING id
""")

_FIND_SLOTS = text("""
    SELECT wanted.id, run.id AS found
    FROM unnest(CAST(:id AS uuid[]), CAST(:job AS text[]), CAST(:slot AS timestamptz[])) AS wanted (id, job, slot)
    JOIN k9ops.run ON run.job = wanted.job AND run.slot = wanted.slot
""")

_COLUMNS = ("id", "job", "queue", "trigger", "requested_by", "parent_id", "slot", "due_at", "expires_at")


def insert_runs(connection: Connection, news: Sequence[NewRun], *, is_sent: bool) -> dict[uuid.UUID, uuid.UUID]:
    """Record runs in the caller's transaction.

    Args:
        connection: In a transaction.
        news: The runs; of those for one slot of one job, the first counts.
        is_sent: As of `insert_run`.

    Returns:
        For each run that was not recorded, by its id, the id of the one that its job has for the slot.
    """
    refused: list[NewRun] = []
    for start in range(0, len(news), _ROWS_A_STATEMENT):
        chunk = news[start : start + _ROWS_A_STATEMENT]
        values: dict[str, Any] = {name: [getattr(new, name) for new in chunk] for name in _COLUMNS}
        values["params"] = [json.dumps(dict(new.params), ensure_ascii=False) for new in chunk]
        recorded = set(connection.scalars(_INSERT_ALL, {**values, "is_sent": is_sent}))
        refused.extend(new for new in chunk if new.id not in recorded)
    if not refused:
        return {}
    wanted = {name: [getattr(new, name) for new in refused] for name in ("id", "job", "slot")}
    found = {row.id: row.found for row in connection.execute(_FIND_SLOTS, wanted)}
    return {new.id: found.get(new.id, new.id) for new in refused}


def insert_unless_open(connection: Connection, news: Sequence[NewRun], *, is_sent: bool) -> dict[uuid.UUID, uuid.UUID]:
    """Record runs in the caller's transaction, those that have an open twin excepted; as `record_unless_open`.

    Returns:
        As `insert_runs`; a run may also be refused for its open twin, which may be one of `news`.
    """
    refused = {}
    # In one order, so that two callers never wait for each other's locks.
    for new in sorted(news, key=lambda new: json.dumps(dict(new.params), ensure_ascii=False, sort_keys=True)):
        lock_twins(connection, new)
        twin = find_twin(connection, new)
        if twin is not None:
            refused[new.id] = twin
        elif not insert_run(connection, new, is_sent=is_sent):
            refused.update(insert_runs(connection, [new], is_sent=is_sent))
    return refused
