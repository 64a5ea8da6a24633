"""Two hosts with one Redis and one PostgreSQL: one is cut off for longer than its leases hold, and comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from tests.hosts import can_have_namespaces, host
from tests.processes import wait_for

from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.processes import list_processes
from k9ops.ledger.requests import get_run, record_run

_FEW = 30


def ask(engine: Engine, job: str, **params: Any) -> NewRun:
    new = NewRun(job=job, queue="hosts", params=params)
    record_run(engine, new, is_sent=False)
    return new


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def wait_for_end(engine: Engine, new: NewRun) -> Run:
    found: Run = wait_for(lambda: run if (run := get_run(engine, new.id)).is_final else None)
    return found


def test_runs_of_a_host_that_is_cut_off_are_executed_by_the_other_and_it_writes_nothing_when_it_returns(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    is_namespace = can_have_namespaces()
    with host("k9-east", is_namespace=is_namespace) as east, host("k9-west", is_namespace=is_namespace) as west:
        logs = {item.name: tmp_path / f"{item.name}.log" for item in (east, west)}

        def worker(item: Any) -> Any:
            environment = {
                "DATABASE_URL": item.reach(database_url),
                "REDIS_URL": item.reach(redis_url),
                "K9OPS_LOG_FORMAT": "json",
                "K9OPS_CONNECT_TIMEOUT_S": "2",
                "K9OPS_LEASE_S": "5",
            }
            return item.worker("tests.chaos.hosts_worker", environment, log=logs[item.name], threads=2)

        with worker(east):
            held = [ask(engine, "hold", folder=str(tmp_path)) for _ in range(2)]
            wait_for(lambda: all((tmp_path / f"begun-k9-east-{new.id}").exists() for new in held))
            with worker(west):
                wait_for(lambda: len(list_processes(engine)) == 2)
                east.cut()
                # One job ends while nobody can hear of it, the other is still at work when the host is back.
                (tmp_path / f"finish-k9-east-{held[0].id}").touch()
                wait_for((tmp_path / f"done-k9-east-{held[0].id}").exists)
                few = [ask(engine, "note_host") for _ in range(_FEW)]
                for new in held:
                    (tmp_path / f"finish-k9-west-{new.id}").touch()
                ended = [wait_for_end(engine, new) for new in (*held, *few)]
                assert {run.evidence["host"] for run in ended} == {"k9-west"}
                assert [(run.attempt, run.deaths) for run in ended[:2]] == [(2, 1), (2, 1)]
                assert {run.attempt for run in ended[2:]} == {1}
                (silent,) = wait_for(lambda: [item for item in list_processes(engine) if item.is_silent])
                if is_namespace:
                    assert silent.host == "k9-east"

                east.join()
                wait_for(
                    lambda: (
                        {str(new.id) for new in held}
                        == {event["run_id"] for event in events(logs["k9-east"]) if event["event"] == "run.lease_lost"}
                    )
                )
                wait_for(lambda: not any(item.is_silent for item in list_processes(engine)))
                assert [get_run(engine, new.id) for new in held] == ended[:2]
            # Alone now, the host that was away works as before.
            last = wait_for_end(engine, ask(engine, "note_host"))
            assert (last.state, last.evidence, last.attempt) == ("succeeded", {"host": "k9-east"}, 1)
