from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.ledger.test_conclusion import POLICY, active_run

from k9ops.broker import memory, overdue
from k9ops.broker.memory import MemoryShares, MemoryWatch
from k9ops.broker.overdue import is_overdue
from k9ops.errors import MemoryLimitExceeded, RunInterrupted
from k9ops.ledger.claims import Claim
from k9ops.ledger.conclusion import conclude_error
from k9ops.process_memory import PAGE_MB

PAGES = round(1 / PAGE_MB)  # of one MB


def test_run_whose_thread_touches_the_new_pages_has_taken_them() -> None:
    shares = MemoryShares(100)
    shares.note(100, {1: 0, 2: 0}, {"eater": 1, "other": 2})
    shares.note(400, {1: 295 * PAGES, 2: 5 * PAGES}, {"eater": 1, "other": 2})
    assert shares.find_largest() == "eater"


def test_run_that_touches_much_and_keeps_little_has_taken_no_more_than_the_process_grew() -> None:
    shares = MemoryShares(100)
    shares.note(100, {1: 0, 2: 0}, {"busy": 1, "eater": 2})
    shares.note(101, {1: 900 * PAGES, 2: 0}, {"busy": 1, "eater": 2})
    shares.note(301, {1: 900 * PAGES, 2: 200 * PAGES}, {"busy": 1, "eater": 2})
    assert shares.find_largest() == "eater"


def test_memory_of_a_thread_that_a_job_has_started_is_that_of_its_run() -> None:
    shares = MemoryShares(100)
    shares.note(100, {1: 0}, {"run": 1})
    shares.note(400, {1: 3}, {"run": 1})
    assert shares.find_largest() == "run"


def test_no_run_is_to_blame_for_what_was_there_before_it() -> None:
    shares = MemoryShares(100)
    shares.note(900, {1: 0}, {})
    shares.note(1_050, {1: 150 * PAGES}, {"run": 1})
    assert shares.find_largest() is None


def test_memory_that_was_given_back_is_not_counted_any_more() -> None:
    shares = MemoryShares(100)
    for resident_mb, faults in ((100, 0), (500, 400), (110, 400), (700, 400)):
        runs = {"first": 1} if resident_mb < 700 else {"first": 1, "second": 2}
        shares.note(resident_mb, {1: faults * PAGES, 2: 590 * PAGES if resident_mb == 700 else 0}, runs)
    assert shares.find_largest() == "second"


@given(st.lists(st.tuples(st.floats(0, 4_000), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1))
def test_shares_are_never_more_than_the_process_has_grown(looks: list[tuple[float, int, int]]) -> None:
    shares, faults = MemoryShares(100), [0, 0]
    lowest = highest = 100.0
    for resident_mb, first, second in looks:
        faults = [faults[0] + first, faults[1] + second]
        shares.note(resident_mb, {1: faults[0], 2: faults[1]}, {"a": 1, "b": 2})
        lowest, highest = min(lowest, resident_mb), max(highest, resident_mb)
        assert all(0 <= share <= highest - lowest + 0.01 for share in shares._shares_mb.values())


def test_run_that_took_the_process_beyond_its_limit_is_told_once_and_is_overdue_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "read_resident_mb", lambda: resident[0])
    monkeypatch.setattr(memory, "read_faults", lambda threads: dict.fromkeys(threads, 0))
    monkeypatch.setattr(overdue, "MEMORY_GRACE_S", 0.0)
    resident, run, worn_out = [100.0], active_run(), threading.Event()
    watch = MemoryWatch(256, find_held=lambda: [run], find_threads=list, wear_out=worn_out.set)
    watch._look()
    assert run.stop_reason is None
    resident[0] = 300.4
    watch._look()
    assert run.stop_reason == "memory"
    run.stop_requested_s = time.monotonic() - 1
    assert is_overdue(run)
    with pytest.raises(MemoryLimitExceeded, match=r"256 MB that K9OPS_WORKER_MEMORY_MB allows .* had 300 MB") as caught:
        run.check_stop()
    conclusion = conclude_error(caught.value, run, POLICY)
    assert (conclusion.action, conclusion.error_class) == ("retry", "MemoryLimitExceeded")
    assert not worn_out.is_set()


def test_process_that_stays_too_large_without_a_run_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    resident, worn_out = [100.0], threading.Event()
    monkeypatch.setattr(memory, "read_resident_mb", lambda: resident[0])
    watch = MemoryWatch(256, find_held=list, find_threads=list, wear_out=worn_out.set)
    resident[0] = 300.0
    watch._look()
    assert not worn_out.is_set()
    for _ in range(10):
        watch._look()
    assert worn_out.is_set()


def test_refused_memory_is_the_fault_of_the_run_that_took_most_or_that_asked_for_too_much_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    eater, other, resident = active_run(), active_run(), [100.0]
    eater.claim, other.claim = Claim(eater.claim.run, "eater"), Claim(other.claim.run, "other")
    eater.thread_id, other.thread_id = 1, 2
    monkeypatch.setattr(memory, "read_resident_mb", lambda: resident[0])
    monkeypatch.setattr(memory, "read_faults", lambda threads: {1: round(resident[0] - 100) * PAGES, 2: 0})
    watch = MemoryWatch(256, find_held=lambda: [eater, other], find_threads=list, wear_out=lambda: None)
    watch._look()
    assert isinstance(watch.explain(MemoryError(), other), MemoryLimitExceeded)
    resident[0] = 500.0
    assert isinstance(watch.explain(MemoryError(), eater), MemoryLimitExceeded)
    explained = watch.explain(MemoryError(), other)
    assert isinstance(explained, RunInterrupted)
    assert conclude_error(explained, other, POLICY).action == "put_back"
    assert watch.explain(None, other) is None


def test_refused_memory_is_no_fault_of_a_run_that_makes_way() -> None:
    run = active_run()
    watch = MemoryWatch(1_000_000, find_held=lambda: [run], find_threads=list, wear_out=lambda: None)
    run.request_stop("shutdown")
    explained = watch.explain(MemoryError(), run)
    assert isinstance(explained, RunInterrupted)
    assert conclude_error(explained, run, POLICY).action == "put_back"
