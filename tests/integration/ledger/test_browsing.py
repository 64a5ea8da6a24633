from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from k9ops.ledger.browsing import RunFilter, list_slot_runs, read_run_page

_FILL = text("""
    INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at, message, slot)
    SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'canary' ELSE 'prune_runs' END, 'k9_tasks',
        CASE WHEN n % 4 = 0 THEN 'schedule' ELSE 'cli' END, 'cancelled', now() - interval '1 s' * (n / 7),
        CASE WHEN n % 10 = 0 THEN 'القرص Full of كلاب' ELSE 'fine' END,
        CASE WHEN n % 4 = 0 THEN now() - interval '1 h' * n END
    FROM generate_series(1, 100) n
""")


@pytest.fixture
def filled(engine: Engine) -> Engine:
    with engine.begin() as connection:
        connection.execute(_FILL)
    return engine


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
@pytest.mark.parametrize("search_s", [0.0, 60.0])
def test_search_finds_every_run_once_however_it_is_cut(filled: Engine, chunk: int, search_s: float) -> None:
    wanted = RunFilter(words="full OF كلاب", job="canary")
    seen, place, is_partial = list[object](), None, False
    while True:
        page = read_run_page(filled, wanted, before=place, limit=3, chunk=chunk, search_s=search_s)
        seen += [run.id for run in page.runs]
        is_partial |= page.searched is not None
        if page.searched is not None:
            assert page.searched_until is not None
            assert page.next_before is not None
            assert page.searched % chunk == 0
        if page.next_before is None:
            break
        place = page.next_before
    assert len(seen) == len(set(seen)) == 10
    assert is_partial == (search_s == 0 and chunk <= 7)


def test_search_that_saw_everything_says_nothing_of_a_part(filled: Engine) -> None:
    page = read_run_page(filled, RunFilter(words="no such text"), search_s=60)
    assert (page.runs, page.next_before, page.searched) == ([], None, None)


def test_runs_of_slots_are_those_of_a_schedule_newest_slot_first(filled: Engine) -> None:
    runs = list_slot_runs(filled, "canary", limit=5)
    slots = [run.slot for run in runs if run.slot is not None]
    assert len(runs) == len(slots) == 5
    assert slots == sorted(slots, reverse=True)
    assert {(run.job, run.trigger) for run in runs} == {("canary", "schedule")}
    assert list_slot_runs(filled, "prune_runs", limit=5) == []
