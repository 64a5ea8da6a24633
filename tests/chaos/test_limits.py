"""Jobs that do not stop at their limit, or when cancelled: they end on time, with all of their processes."""

from __future__ import annotations

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
_EXIT_CODE = 75


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "K9OPS_RELAY_INTERVAL_S": "0.1"}


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
    jobs = ("heed_soft_limit", "ignore_soft_limit", "wait_for_child")
    limited = [NewRun(job=jobs[n % 3], queue="limits", params={"number": n}) for n in range(LIMITED)]
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
        ("heed_soft_limit", "failed", "RunInterrupted", 1): 334,
        ("ignore_soft_limit", "failed", "TimeLimitExceeded", 1): 333,
        ("wait_for_child", "failed", "RunInterrupted", 1): 333,
        ("meet", "succeeded", None, 1): THREADS,
    }
