"""Jobs that do not stop at their limit, or when cancelled: they end on time, with all of their processes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from tests.processes import DEADLINE_S, wait_for, worker_process

from k9ops.ledger.batches import insert_runs
from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.requests import get_run, list_runs, record_run, request_cancel
from k9ops.process_tree import find_descendants

LIMITED, THREADS = 1_000, 48
OPEN = ("queued", "running", "retrying")
SMALL = {"K9OPS_WORKER_MEMORY_MB": "256"}
_EXIT_CODE = 75


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    own = {"K9OPS_RELAY_INTERVAL_S": "0.1", "K9OPS_WORKER_MEMORY_MB": "1024"}
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **own}


def ask(engine: Engine, job: str, folder: Path) -> NewRun:
    new = NewRun(job=job, queue="limits", params={"folder": str(folder)})
    record_run(engine, new, is_sent=False)
    return new


def wait_for_end(engine: Engine, new: NewRun) -> Run:
    found: Run = wait_for(lambda: run if (run := get_run(engine, new.id)).is_final else None)
    return found


def is_running(path: Path) -> bool:
    state: Any = Path(f"/proc/{path.read_text().strip()}/stat")
    try:
        return str(state.read_text()).rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_job_that_sleeps_through_its_hard_limit_ends_with_its_processes_and_no_other_run_is_charged(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    innocent = ask(engine, "wait_for_file", tmp_path)
    with worker_process("tests.chaos.limited_worker", environment, threads=2) as worker:
        wait_for((tmp_path / "waiting").exists)
        stuck = ask(engine, "sleep_in_c", tmp_path)
        wait_for(lambda: (tmp_path / "grandchild").exists() and (tmp_path / "child").exists())
        assert is_running(tmp_path / "grandchild")
        run = wait_for_end(engine, stuck)
        assert worker.wait(DEADLINE_S) == _EXIT_CODE
    assert (run.state, run.error_class, run.attempt) == ("failed", "TimeLimitExceeded", 1)
    assert run.message == ("The run took longer than its hard time limit. It did not stop, and its process was ended.")
    for name in ("child", "grandchild"):
        wait_for(lambda name=name: not is_running(tmp_path / name))  # type: ignore[misc]
    (tmp_path / "finish").touch()
    with worker_process("tests.chaos.limited_worker", environment):
        other = wait_for_end(engine, innocent)
    assert (other.state, other.attempt, other.deaths) == ("succeeded", 1, 0)


def test_job_that_eats_memory_ends_with_its_processes_and_no_other_run_is_charged(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    innocent = ask(engine, "wait_for_file", tmp_path)
    with worker_process("tests.chaos.limited_worker", environment | SMALL, threads=2) as worker:
        wait_for((tmp_path / "waiting").exists)
        eater = ask(engine, "eat_memory", tmp_path)
        run = wait_for_end(engine, eater)
        assert worker.wait(DEADLINE_S) == _EXIT_CODE
    assert (run.state, run.error_class, run.attempt) == ("failed", "MemoryLimitExceeded", 1)
    assert run.message is not None
    assert re.fullmatch(
        r"The run needs more memory than the 256 MB that K9OPS_WORKER_MEMORY_MB allows a worker process, which had"
        r" \d{3} MB\. Ask for less at a time, or allow it more\. It did not stop, and its process was ended\.",
        run.message,
    )
    wait_for(lambda: not is_running(tmp_path / "grandchild"))
    (tmp_path / "finish").touch()
    with worker_process("tests.chaos.limited_worker", environment):
        other = wait_for_end(engine, innocent)
    assert (other.state, other.attempt, other.deaths) == ("succeeded", 1, 0)


def test_job_that_stops_eating_when_asked_costs_its_neighbour_nothing_and_a_child_has_the_limit_too(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    neighbour = ask(engine, "wait_for_file", tmp_path)
    with worker_process("tests.chaos.limited_worker", environment | SMALL, threads=2) as worker:
        wait_for((tmp_path / "waiting").exists)
        run = wait_for_end(engine, ask(engine, "eat_memory_until_asked", tmp_path))
        assert (run.state, run.error_class) == ("failed", "MemoryLimitExceeded")
        parent = wait_for_end(engine, ask(engine, "start_eater", tmp_path))
        assert (parent.state, parent.evidence) == ("succeeded", {"code": 1, "said": "MemoryError"})
        (tmp_path / "finish").touch()
        other = wait_for_end(engine, neighbour)
        assert (other.state, other.attempt, len(other.history)) == ("succeeded", 1, 0)
        assert worker.poll() is None


def test_job_that_ignores_its_cancellation_ends_as_cancelled(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    asked = ask(engine, "ignore_cancellation", tmp_path)
    with worker_process("tests.chaos.limited_worker", {**environment, "K9OPS_LEASE_S": "3"}) as worker:
        wait_for((tmp_path / "asleep").exists)
        request_cancel(engine, asked.id, requested_by="test")
        run = wait_for_end(engine, asked)
        assert worker.wait(DEADLINE_S) == _EXIT_CODE
    assert (run.state, run.message) == (
        "cancelled", "The run was cancelled. It did not stop, and its process was ended.",
    )  # fmt: skip


def test_worker_takes_as_many_jobs_as_before_after_a_thousand_that_met_their_limit(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    jobs = ("heed_soft_limit", "ignore_soft_limit", "wait_for_child", "ask_for_too_much")
    limited = [NewRun(job=jobs[n % 4], queue="limits", params={"number": n}) for n in range(LIMITED)]
    params = {"folder": str(tmp_path), "count": THREADS}
    meeting = [NewRun(job="meet", queue="limits", params={**params, "number": n}) for n in range(THREADS)]
    with worker_process("tests.chaos.limiting_worker", environment, threads=THREADS) as worker:
        with engine.begin() as connection:
            insert_runs(connection, limited, is_sent=False)
        wait_for(lambda: not list_runs(engine, states=OPEN, limit=1), deadline_s=180)
        with engine.begin() as connection:
            insert_runs(connection, meeting, is_sent=False)
        wait_for(lambda: not list_runs(engine, states=OPEN, limit=1), deadline_s=90)
        wait_for(lambda: not any(process.name == "sleep" for process in find_descendants(worker.pid)))
        assert worker.poll() is None
    ended = Counter((run.job, run.state, run.error_class, run.attempt) for run in list_runs(engine, limit=LIMITED * 2))
    assert ended == {
        ("heed_soft_limit", "failed", "RunInterrupted", 1): 250,
        ("ignore_soft_limit", "failed", "TimeLimitExceeded", 1): 250,
        ("wait_for_child", "failed", "RunInterrupted", 1): 250,
        ("ask_for_too_much", "failed", "MemoryLimitExceeded", 1): 250,
        ("meet", "succeeded", None, 1): THREADS,
    }
