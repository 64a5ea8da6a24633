"""Runs whose worker died, and runs that came too late."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.ledger.model import RUN_COLUMNS, Run, run_from_row

MAX_DEATHS = 3

_LOST = """
    state = 'running' AND lease_expires_at < now()
    AND pg_postmaster_start_time() <= now() - make_interval(secs => :lease_s)
"""

_FIND = text(f"SELECT lease_owner FROM k9ops.run WHERE {_LOST} ORDER BY lease_expires_at LIMIT 500")

# Runs that lost their worker together are all suspect of having killed it. After the second time they are tried one
# after the other, so that the others do not die for the one.
_RESCUE = text(f"""
    WITH lost AS MATERIALIZED (
        SELECT id, deaths, split_part(lease_owner, '/', 1) AS worker FROM k9ops.run
        WHERE {_LOST} AND lease_owner = ANY(:owners)
        LIMIT 500 FOR UPDATE SKIP LOCKED),
    placed AS (
        SELECT id, CASE WHEN deaths = 0 THEN 0
                        ELSE row_number() OVER (PARTITION BY worker, deaths = 0 ORDER BY id) - 1 END AS place
        FROM lost)
    UPDATE k9ops.run SET
        deaths = deaths + 1,
        state = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                     WHEN deaths + 1 >= :max_deaths THEN 'failed' ELSE 'retrying' END,
        finished_at = CASE WHEN cancel_requested_at IS NOT NULL OR deaths + 1 >= :max_deaths THEN now() END,
        error_class = CASE WHEN deaths + 1 >= :max_deaths THEN 'poison' ELSE 'WorkerLost' END,
        message = CASE WHEN cancel_requested_at IS NOT NULL THEN message
                       WHEN deaths + 1 >= :max_deaths
                       THEN 'Its worker died ' || (deaths + 1) || ' times: it is not tried again by itself.'
                       ELSE 'The worker ' || lease_owner || ' died or lost its connection.' END,
        due_at = now() + make_interval(secs => :lease_s * placed.place), sent_at = NULL, sends = 0,
        history = history || jsonb_build_object(
            'attempt', attempt, 'outcome', 'worker_lost', 'worker', lease_owner, 'ended_at', now(),
            'error_class', 'WorkerLost', 'message', 'The lease ran out.'),
        lease_owner = NULL, lease_expires_at = NULL
    FROM placed WHERE run.id = placed.id
    RETURNING {RUN_COLUMNS}
""")

_EXPIRE = text(f"""
    UPDATE k9ops.run SET state = 'expired', finished_at = now(),
        message = 'It had not started by ' || to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
                  || ' UTC, the latest moment that its job allows.'
    WHERE id IN (SELECT id FROM k9ops.run
                 WHERE state IN ('queued', 'retrying') AND started_at IS NULL AND expires_at <= now()
                 LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING {RUN_COLUMNS}
""")


def find_lost_claims(engine: Engine, *, lease_s: float) -> list[str]:
    """Return the owners' names of the claims whose leases have run out.

    One that is found twice, so far apart that its holder could have renewed it in between, is lost. Once is not enough:
    a server that was frozen answers late, and its clock has gone on. Likewise leases ran out while it was restarted:
    until it has been up for the time of one lease none is lost.

    Args:
        engine: The database.
        lease_s: How long a claim holds without renewal.
    """
    with database_errors(), engine.begin() as connection:
        return list(connection.scalars(_FIND, {"lease_s": lease_s}))


def rescue_lost_runs(engine: Engine, owners: Collection[str], *, lease_s: float) -> list[Run]:
    """Put the runs of lost claims back; a run that lost three workers fails as `poison`.

    They are sent at once, except those that have lost a second worker together: these follow each other at the distance
    of a lease.

    Args:
        engine: The database.
        owners: The claims, as of `find_lost_claims`; one that was renewed since stays.
        lease_s: How long a claim holds without renewal.

    Returns:
        The runs after the change.
    """
    values = {"owners": list(owners), "max_deaths": MAX_DEATHS, "lease_s": lease_s}
    with database_errors(), engine.begin() as connection:
        return [run_from_row(row) for row in connection.execute(_RESCUE, values).mappings()]


def expire_late_runs(engine: Engine) -> list[Run]:
    """End runs that have not started by their latest moment.

    Returns:
        The runs after the change.
    """
    with database_errors(), engine.begin() as connection:
        return [run_from_row(row) for row in connection.execute(_EXPIRE).mappings()]
