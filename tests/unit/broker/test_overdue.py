from __future__ import annotations

import time
from typing import Any

import dramatiq
import pytest
from tests.unit.ledger.test_conclusion import active_run

from k9ops.broker import overdue
from k9ops.broker.overdue import OverdueRuns, is_overdue
from k9ops.ledger.execution import ActiveRun


def active(**limits: Any) -> ActiveRun:
    return ActiveRun(active_run().claim, soft_limit_s=None, **limits)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue, "HARD_LIMIT_GRACE_S", 0.0)
    monkeypatch.setattr(overdue, "CANCEL_GRACE_S", 0.0)


def test_job_past_its_hard_limit_is_overdue_until_it_has_ended() -> None:
    run = active(hard_limit_s=-1.0)
    assert is_overdue(run)
    run.has_ended = True  # its outcome waits for PostgreSQL
    assert not is_overdue(run)


def test_job_within_its_limit_is_not_overdue() -> None:
    assert not is_overdue(active(hard_limit_s=60.0))
    assert not is_overdue(active())


@pytest.mark.parametrize(("reason", "expected"), [("cancelled", True), ("shutdown", False)])
def test_cancelled_job_is_overdue_when_it_goes_on(reason: str, expected: bool) -> None:
    run = active(hard_limit_s=60.0)
    run.request_stop(reason)
    run.stop_requested_s = time.monotonic() - 1
    assert is_overdue(run) == expected


def test_process_takes_no_more_from_the_first_look_on_and_leaves_at_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[Any] = []
    monkeypatch.setattr(overdue.os, "kill", lambda *arguments: left.append("told"))
    monkeypatch.setattr(OverdueRuns, "_leave", lambda self, runs, others: left.append((runs, others)))
    runs = OverdueRuns(dramatiq.Broker())
    stuck, ended, claimed_meanwhile = active(hard_limit_s=-1.0), active(), active(hard_limit_s=-1.0)
    runs.look_after([active()])
    assert not runs.is_leaving
    runs.look_after([stuck])
    assert runs.is_leaving
    assert left == ["told"]
    ended.has_ended = True
    runs.look_after([stuck, claimed_meanwhile, ended])
    assert left == ["told"], "what has ended is recorded first"
    runs.look_after([stuck, claimed_meanwhile])
    assert left == ["told", ([stuck, claimed_meanwhile], [])]


def test_others_that_take_too_long_are_put_back_but_for_those_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(overdue, "LEAVE_GRACE_S", -1.0)
    monkeypatch.setattr(overdue.os, "kill", lambda *arguments: None)
    monkeypatch.setattr(OverdueRuns, "_leave", lambda self, runs, others: left.append((runs, others)))
    runs = OverdueRuns(dramatiq.Broker())
    stuck, deaf, ended = active(hard_limit_s=-1.0), active(), active()
    ended.has_ended = True
    for _ in range(2):
        runs.look_after([stuck, deaf, ended])
    assert left == [([stuck], [deaf])]
