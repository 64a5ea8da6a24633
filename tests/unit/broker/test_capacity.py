from __future__ import annotations

from k9ops.broker.capacity import Capacity


def brisk(capacity: Capacity) -> None:
    for _ in range(20):
        capacity.note_duration(0.001)


def test_capacity_is_limited_to_its_threads_while_nothing_is_known_of_its_jobs() -> None:
    capacity = Capacity()
    capacity.begin(2)
    assert capacity.reserve("reports", 4) == 2
    capacity.settle("reports", 2, 1)
    assert capacity.reserve("backups", 4) == 1
    assert capacity.is_full
    assert capacity.reserve("schedules", 4) == 0


def test_capacity_lets_queues_fetch_ahead_while_jobs_are_short() -> None:
    capacity = Capacity()
    capacity.begin(2)
    brisk(capacity)
    assert capacity.reserve("reports", 4) == 4
    assert capacity.reserve("backups", 4) == 4


def test_capacity_stops_fetching_ahead_after_messages_were_stuck() -> None:
    capacity = Capacity()
    capacity.begin(2)
    brisk(capacity)
    capacity.note_stuck()
    assert capacity.reserve("reports", 4) == 2
    capacity.settle("reports", 2, 0)
    brisk(capacity)
    assert capacity.reserve("reports", 4) == 4


def test_capacity_tells_once_that_a_thread_became_free() -> None:
    capacity = Capacity()
    capacity.begin(2)
    capacity.settle("reports", capacity.reserve("reports", 2), 2)
    assert capacity.release(1) is True
    assert capacity.release(1) is False
    assert not capacity.is_full


def test_capacity_gives_a_free_thread_to_the_queue_that_comes_first() -> None:
    capacity = Capacity()
    capacity.begin(1)
    capacity.set_rank("reports", 50)
    capacity.set_rank("schedules", 10)
    capacity.settle("reports", capacity.reserve("reports", 1), 1)
    capacity.release(1)
    assert capacity.reserve("reports", 1) == 0
    assert capacity.reserve("schedules", 1) == 1
    capacity.settle("schedules", 1, 0)
    assert capacity.reserve("reports", 1) == 1


def test_capacity_without_a_worker_has_no_limit() -> None:
    capacity = Capacity()
    assert capacity.reserve("reports", 1000) == 1000
    assert not capacity.is_full
    assert capacity.wait_for_room(0)
