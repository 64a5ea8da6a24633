import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k9ops.errors import PermanentError, RunInterrupted, TransientError
from k9ops.ledger.claims import Claim
from k9ops.ledger.conclusion import RetryPolicy, conclude_error, conclude_return, plan_backoff
from k9ops.ledger.execution import ActiveRun
from k9ops.ledger.model import Run
from k9ops.outcome import Outcome, skipped

POLICY = RetryPolicy(max_attempts=3, min_backoff_s=10, max_backoff_s=60)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def active_run(attempt: int = 1, soft_limit_s: float | None = None) -> ActiveRun:
    run = Run(
        id=uuid.uuid4(), job="create_backup", queue="backups", params={}, state="running", trigger="enqueue",
        requested_by=None, parent_id=None, slot=None, path="worker", attempt=attempt, deaths=0, created_at=NOW,
        due_at=NOW, expires_at=None, sent_at=NOW, sends=1, started_at=NOW, finished_at=None, lease_owner="me",
        lease_expires_at=NOW, cancel_requested_at=None, progress=None, message=None, evidence=None,
        error_class=None, traceback=None, history=[],
    )  # fmt: skip
    return ActiveRun(Claim(run, "me"), soft_limit_s=soft_limit_s)


def test_conclude_error_stores_no_password() -> None:
    try:
        raise ValueError("postgresql://k9:hidden@db/k9 and host=db password='hid den' sslmode=on refused")
    except ValueError as exc:
        conclusion = conclude_error(exc, active_run(), POLICY)
    assert conclusion.message == "ValueError: postgresql://k9:***@db/k9 and host=db password=*** sslmode=on refused"
    assert conclusion.traceback is not None
    assert conclusion.traceback.endswith(f"{conclusion.message}\n")


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome("succeeded", "Done.", {"rows": 1}), "succeeded"),
        (Outcome("partial", "Half.", {"rows": 1}), "partial"),
        (skipped("Nothing to do."), "skipped"),
        (Outcome("failed", "No."), "failed"),
    ],
)
def test_conclude_return_takes_the_state_of_an_outcome(outcome: Outcome, state: str) -> None:
    conclusion = conclude_return(outcome)
    assert (conclusion.action, conclusion.state, conclusion.message) == ("finish", state, outcome.message)


@pytest.mark.parametrize("result", [None, True, 1, "ok", {}, {"success": True}, [1]])
def test_conclude_return_fails_when_a_job_returns_no_outcome(result: object) -> None:
    conclusion = conclude_return(result)
    assert (conclusion.state, conclusion.error_class) == ("failed", "OutcomeMissing")


def test_conclude_return_repeats_what_a_returned_failure_says() -> None:
    assert "pg_dump timed out" in conclude_return({"success": False, "error": "pg_dump timed out"}).message


@pytest.mark.parametrize("state", ["succeeded", "partial"])
def test_outcome_refuses_success_without_evidence(state: str) -> None:
    with pytest.raises(ValueError, match="needs evidence"):
        Outcome(state, "Done.")  # type: ignore[arg-type]


def test_conclude_error_retries_a_transient_error_without_traceback() -> None:
    conclusion = conclude_error(TransientError("Away."), active_run(), POLICY, random_unit=1)
    assert (conclusion.action, conclusion.delay_s, conclusion.traceback) == ("retry", 10, None)


def test_conclude_error_waits_as_long_as_a_transient_error_says() -> None:
    error = TransientError("Busy.", retry_after_s=77)
    assert conclude_error(error, active_run(), POLICY).delay_s == 77


def test_conclude_error_ends_the_run_at_once_after_a_permanent_error() -> None:
    conclusion = conclude_error(PermanentError("No."), active_run(), POLICY)
    assert (conclusion.action, conclusion.state, conclusion.message) == ("finish", "failed", "No.")


def test_conclude_error_retries_a_bug_with_its_traceback() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        conclusion = conclude_error(error, active_run(), POLICY)
    assert conclusion.action == "retry"
    assert conclusion.traceback is not None
    assert "1 / 0" in conclusion.traceback


def test_conclude_error_fails_when_the_attempts_are_used_up() -> None:
    conclusion = conclude_error(TransientError("Away."), active_run(attempt=3), POLICY)
    assert (conclusion.action, conclusion.state) == ("finish", "failed")


@pytest.mark.parametrize(
    ("reason", "action", "state"),
    [("cancelled", "finish", "cancelled"), ("shutdown", "put_back", ""), ("time_limit", "retry", "")],
)
def test_conclude_error_follows_the_reason_of_an_interrupt(reason: str, action: str, state: str) -> None:
    active = active_run()
    active.request_stop(reason)
    with pytest.raises(RunInterrupted) as caught:
        active.check_stop()
    conclusion = conclude_error(caught.value, active, POLICY)
    assert (conclusion.action, conclusion.state) == (action, state)


def test_conclude_error_writes_nothing_when_the_lease_is_lost() -> None:
    active = active_run()
    active.request_stop("cancelled")
    active.request_stop("lease_lost")
    assert conclude_error(PermanentError("No."), active, POLICY).action == "abandon"


def test_conclude_error_counts_the_hard_time_limit_as_a_failed_attempt() -> None:
    conclusion = conclude_error(SystemExit(), active_run(attempt=3), POLICY, is_time_limit=True)
    assert (conclusion.state, conclusion.error_class) == ("failed", "TimeLimitExceeded")


def test_check_stop_raises_when_the_soft_limit_is_over() -> None:
    active = active_run(soft_limit_s=-1)
    with pytest.raises(RunInterrupted) as caught:
        active.check_stop()
    assert caught.value.reason == "time_limit"


@given(attempt=st.integers(1, 10_000), unit=st.floats(0, 1))
def test_plan_backoff_stays_between_half_and_all_of_the_capped_doubling(attempt: int, unit: float) -> None:
    full_s = min(60, 10 * 2 ** (attempt - 1))
    assert full_s / 2 <= plan_backoff(attempt, POLICY, unit) <= full_s
