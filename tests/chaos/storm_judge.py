"""What must hold after a storm, as one query for each promise; whatever a query finds is a broken promise."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from tests.chaos.storm_effects import CHILDREN
from tests.chaos.storm_servers import StormPostgres

_COUNTING = "('count_quickly', 'count_slowly', 'count_slot', 'count_at_second_try', 'count_with_children')"
_IS_POISON = "(run.state = 'failed' AND run.error_class = 'poison')"

OPEN = "SELECT count(*) FROM k9ops.run WHERE finished_at IS NULL"

PROMISES = {
    "a run has no outcome": """
        SELECT id, job, state FROM k9ops.run
        WHERE state NOT IN ('succeeded', 'partial', 'skipped', 'failed', 'cancelled', 'expired')
           OR finished_at IS NULL""",
    "an ended run is still leased": "SELECT id, job, lease_owner FROM k9ops.run WHERE lease_owner IS NOT NULL",
    "a job that counts did not succeed": f"""
        SELECT id, job, state, error_class, message, traceback FROM k9ops.run
        WHERE job IN {_COUNTING} AND state <> 'succeeded' AND NOT {_IS_POISON}""",
    "a run is poison without three lost workers": f"""
        SELECT id, job, history FROM k9ops.run WHERE {_IS_POISON} AND 3 <> (
            SELECT count(*) FROM jsonb_array_elements(history) AS item WHERE item ->> 'outcome' = 'worker_lost')""",
    "a job that kills its worker did not end as poison": f"""
        SELECT id, state, error_class, deaths FROM k9ops.run WHERE job = 'kill_worker' AND NOT {_IS_POISON}""",
    "a job that refuses did not fail for its reason": f"""
        SELECT id, state, error_class FROM k9ops.run
        WHERE job = 'refuse' AND NOT {_IS_POISON} AND (state, error_class) <> ('failed', 'PermanentError')""",
    "a success has no effect": f"""
        SELECT id, job FROM k9ops.run WHERE job IN {_COUNTING} AND state = 'succeeded'
        AND id NOT IN (SELECT run_id FROM storm.effect)""",
    "an effect has no run that may have it": f"""
        SELECT run_id FROM storm.effect
        WHERE run_id NOT IN (SELECT id FROM k9ops.run WHERE job IN {_COUNTING})""",
    "a job was executed without a claim, or more often than the ledger tells": """
        SELECT execution.run_id, execution.owner, run.job, run.state, run.history
        FROM storm.execution JOIN k9ops.run ON run.id = execution.run_id
        WHERE execution.owner NOT IN (SELECT item ->> 'worker' FROM jsonb_array_elements(run.history) AS item)
          AND execution.owner IS DISTINCT FROM run.evidence ->> 'owner'
          AND NOT (run.job = 'refuse' AND (SELECT count(*) FROM storm.execution AS other
                   WHERE other.run_id = run.id) <= jsonb_array_length(run.history) + 1)""",
    "a success is not that of the claim that it names": f"""
        SELECT id, job, evidence FROM k9ops.run WHERE job IN {_COUNTING} AND state = 'succeeded'
        AND coalesce(evidence ->> 'owner', '') NOT IN (SELECT owner FROM storm.execution WHERE run_id = id)""",
    "an attempt was counted that was put back, or one was not": f"""
        SELECT id, job, attempt, history FROM k9ops.run
        WHERE job IN {_COUNTING} AND state = 'succeeded' AND attempt <> 1 + (
            SELECT count(*) FROM jsonb_array_elements(history) AS item WHERE item ->> 'outcome' <> 'put_back')""",
    "a slot has two runs": """
        SELECT job, slot, count(*) FROM k9ops.run WHERE slot IS NOT NULL GROUP BY job, slot HAVING count(*) > 1""",
    "follow-up runs are missing or double": f"""
        SELECT parent.id, count(child.id) FROM k9ops.run AS parent
        LEFT JOIN k9ops.run AS child ON child.parent_id = parent.id
        WHERE parent.job = 'count_with_children' AND parent.state = 'succeeded'
        GROUP BY parent.id HAVING count(child.id) <> {CHILDREN}""",
}

# A worker that was stopped, or cut off, meets a run that others have taken: at its next check it must end. When the
# clock of PostgreSQL jumps it cannot know before it renews its lease.
WROTE_AFTER_LOSS = """
    SELECT execution.run_id, execution.owner, execution.checked_at, item ->> 'ended_at'
    FROM storm.execution JOIN k9ops.run ON run.id = execution.run_id, jsonb_array_elements(run.history) AS item
    WHERE item ->> 'worker' = execution.owner AND item ->> 'outcome' = 'worker_lost'
      AND execution.checked_at > (item ->> 'ended_at')::timestamptz
      AND NOT EXISTS (SELECT FROM storm.jump WHERE (item ->> 'ended_at')::timestamptz
                      BETWEEN jump.at AND jump.at + interval '6 s')
"""

LEFT_BEHIND = {
    "a session": "SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE 'k9ops%'",
    "a lock": "SELECT locktype, pid FROM pg_locks WHERE locktype = 'advisory'",
    "a prepared transaction": "SELECT gid FROM pg_prepared_xacts",
    "a database": "SELECT datname FROM pg_database WHERE datname NOT IN ('k9', 'postgres', 'template0', 'template1')",
}


def find_broken_promises(postgres: StormPostgres, accepted: Iterable[uuid.UUID]) -> dict[str, list[Any]]:
    """Return what does not hold, with up to five examples each."""
    found = {name: postgres.ask(query)[:5] for name, query in PROMISES.items()}
    known = {row[0] for row in postgres.ask("SELECT id FROM k9ops.run")}
    found["an accepted run is lost"] = [run_id for run_id in accepted if run_id not in known][:5]
    found["a worker went on after it had lost its run"] = postgres.ask(WROTE_AFTER_LOSS)[:5]
    return {name: rows for name, rows in found.items() if rows}


def find_left_behind(postgres: StormPostgres) -> dict[str, list[Any]]:
    """Return what is left in PostgreSQL when every process has ended."""
    found = {name: postgres.ask(query)[:5] for name, query in LEFT_BEHIND.items()}
    return {name: rows for name, rows in found.items() if rows}


def count_figures(postgres: StormPostgres) -> dict[str, int]:
    """Return what the storm did, so that it can be seen that it did something."""
    rows = postgres.ask("""
        SELECT count(*), coalesce(sum(deaths), 0), coalesce(sum(jsonb_array_length(history)), 0),
               count(*) FILTER (WHERE sends > 1), count(*) FILTER (WHERE error_class = 'poison'),
               (SELECT count(*) FROM jsonb_path_query_array(
                   coalesce(jsonb_agg(history), '[]'), '$[*][*] ? (@.outcome == "put_back")') AS a,
                   jsonb_array_elements(a)),
               (SELECT count(*) FROM storm.execution), (SELECT count(*) FROM storm.effect)
        FROM k9ops.run""")
    names = ("runs", "lost workers", "given up", "sent again", "poison", "put back", "executions", "effects")
    return dict(zip(names, map(int, rows[0]), strict=True))
