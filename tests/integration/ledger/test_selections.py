from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from k9ops.db.audit import list_events
from k9ops.errors import RunStateConflict
from k9ops.ledger import selections
from k9ops.ledger.browsing import RunFilter, read_run_page
from k9ops.ledger.claims import claim_run, finish_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, list_runs, record_run, request_retry
from k9ops.ledger.selections import change_selected, select_run, select_runs


def make(
    engine: Engine, *, state: str = "failed", job: str = "dig", queue: str = "tests", message: str = ""
) -> uuid.UUID:
    new = NewRun(job=job, queue=queue)
    record_run(engine, new, is_sent=True)
    if state != "queued":
        end(engine, new.id, state=state, message=message)
    return new.id


def end(engine: Engine, run_id: uuid.UUID, *, state: str = "failed", message: str = "") -> None:
    claim = claim_run(engine, run_id, owner="w", lease_s=30, path="worker")
    assert claim is not None
    if state != "running":
        assert finish_run(engine, claim, state=state, message=message, evidence={"n": 1}, is_audited=False)


def change(engine: Engine, selection: selections.Selection) -> list[uuid.UUID]:
    return change_selected(engine, selection, requested_by="omar", origin="test", reason="the disk is replaced")


def test_selection_has_what_fits_and_nothing_else(engine: Engine) -> None:
    full = [make(engine, message="The DISK is full.") for _ in range(3)]
    other = make(engine, job="fill", queue="backups", message="The line is busy.")
    make(engine, state="succeeded", message="The disk is full.")
    cancelled = make(engine, state="cancelled", message="The disk is full.")
    assert set(select_runs(engine, "retry", RunFilter(words="disk IS")).run_ids) == set(full)
    assert select_runs(engine, "retry", RunFilter(queue="backups")).run_ids == (other,)
    assert select_runs(engine, "retry", RunFilter(state="cancelled")).run_ids == (cancelled,)
    assert select_runs(engine, "retry", RunFilter(state="succeeded")).total == 0
    assert select_runs(engine, "discard", RunFilter(job="dig", until=datetime.now(UTC) - timedelta(days=1))).total == 0
    assert select_runs(engine, "discard", RunFilter(since=datetime.now(UTC) - timedelta(days=1))).total == 4
    assert [run.id for run in read_run_page(engine, RunFilter(queue="backups")).runs] == [other]


def test_exactly_the_shown_runs_are_changed_and_one_entry_names_them(engine: Engine) -> None:
    runs = [make(engine) for _ in range(4)]
    selection = select_runs(engine, "retry", RunFilter(job="dig"))
    request_retry(engine, runs[0], requested_by="salem")
    request_retry(engine, runs[1], requested_by="salem")
    end(engine, runs[1])  # failed again: not what was shown
    later = make(engine)
    done = change(engine, selection)
    assert done == sorted(runs[2:])
    assert [get_run(engine, run_id).state for run_id in (*runs, later)] == [
        "queued", "failed", "queued", "queued", "failed",
    ]  # fmt: skip
    assert get_run(engine, runs[2]).history[0]["retried_by"] == "omar"
    assert change(engine, selection) == []
    with engine.begin() as connection:
        (event,) = list_events(connection, target_type="runs")
    assert (event.actor, event.action, event.target_id) == ("omar", "retry", "job=dig")
    assert event.reason == "the disk is replaced"
    assert event.after == {"filter": {"job": "dig"}, "count": 2, "runs": [str(run_id) for run_id in done]}


def test_discarded_runs_stay_as_they_ended_and_count_no_longer(engine: Engine) -> None:
    failed, partial, waiting = make(engine), make(engine, state="partial"), make(engine, state="queued")
    assert set(change(engine, select_runs(engine, "discard", RunFilter()))) == {failed, partial}
    assert get_run(engine, failed).state == "failed"
    assert list_runs(engine, states=("failed",), also_acknowledged=False) == []
    assert select_runs(engine, "retry", RunFilter()).total == 0
    assert change(engine, select_runs(engine, "discard", RunFilter(state="queued"))) == [waiting]
    run = get_run(engine, waiting)
    assert (run.state, run.message, run.acknowledged_at) == ("cancelled", "Cancelled by omar.", None)
    request_retry(engine, failed, requested_by="omar")
    assert get_run(engine, failed).acknowledged_at is None


def test_run_that_is_executed_or_went_well_is_not_discarded(engine: Engine) -> None:
    for state in ("running", "succeeded"):
        run_id = make(engine, state=state)
        with pytest.raises(RunStateConflict):
            select_run(engine, "discard", get_run(engine, run_id))
        forged = selections.Selection("discard", RunFilter(state=state), datetime.now(UTC), (run_id,), 1)
        assert change(engine, forged) == []
        assert change(engine, replace(forged, wanted=RunFilter())) == []
        assert get_run(engine, run_id).state == state


def test_only_the_oldest_are_taken_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "SELECTED_RUNS", 2)
    runs = [make(engine) for _ in range(5)]
    with engine.begin() as connection:
        for age, run_id in enumerate(runs):
            statement = "UPDATE k9ops.run SET created_at = now() - make_interval(mins => :age) WHERE id = :id"
            connection.execute(text(statement), {"age": age, "id": run_id})
    selection = select_runs(engine, "retry", RunFilter())
    assert (selection.run_ids, selection.total) == ((runs[4], runs[3]), 5)
