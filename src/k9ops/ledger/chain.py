"""The runs that belong together: what started a run, what that started, and so on."""

from __future__ import annotations

import uuid

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.ledger.model import RUN_COLUMNS, Run, run_from_row

_LEVELS = 20
_MOST_RUNS = 200

_CHAIN = text(f"""
    WITH RECURSIVE up (id, parent_id, level) AS (
        SELECT id, parent_id, 0 FROM k9ops.run WHERE id = :id
        UNION ALL
        SELECT run.id, run.parent_id, level + 1
        FROM k9ops.run JOIN up ON run.id = up.parent_id WHERE level < {_LEVELS}),
    down (id, level, place) AS (
        (SELECT id, 0, ARRAY[id::text] FROM up ORDER BY level DESC LIMIT 1)
        UNION ALL
        SELECT run.id, level + 1, place || (extract(epoch FROM run.created_at)::text || run.id)
        FROM k9ops.run JOIN down ON run.parent_id = down.id WHERE level < {_LEVELS}),
    found AS (SELECT * FROM down LIMIT {_MOST_RUNS})
    SELECT found.level, {RUN_COLUMNS} FROM found JOIN k9ops.run USING (id) ORDER BY found.place
""")


def read_chain(engine: Engine, run_id: uuid.UUID) -> list[tuple[int, Run]]:
    """Return the first run of a run's chain and all that came of it, each after what started it, with its level from 0.

    At most 20 levels up and down, and 200 runs, those near the first one before others.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(_CHAIN, {"id": run_id}).mappings()
        return [(row["level"], run_from_row(row)) for row in rows]
