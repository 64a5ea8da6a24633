from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker.acknowledging import Acknowledger
from k9ops.broker.results import EncodedResult


class Server:
    """Notes what it is asked to acknowledge; holds its first call until it may go on, then refuses as it is told."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.results: dict[str, Any] = {}
        self.may_go_on = threading.Event()
        self.refusals: list[BaseException] = []

    def acknowledge(self, ended: Mapping[str, EncodedResult | None]) -> None:
        self.calls.append(list(ended))
        if len(self.calls) == 1:
            assert self.may_go_on.wait(DEADLINE_S)
        if self.refusals:
            raise self.refusals.pop()
        self.results.update(ended)


@pytest.fixture
def server() -> Server:
    return Server()


def test_message_alone_is_acknowledged_at_once_with_its_result(server: Server) -> None:
    server.may_go_on.set()
    acknowledge = Acknowledger(server.acknowledge)
    result = EncodedResult(2, "key", b"{}", 1000)
    acknowledge("a", result)
    acknowledge("b", None)
    assert server.calls == [["a"], ["b"]]
    assert server.results == {"a": result, "b": None}


def test_nobody_waits_for_the_one_who_acknowledges(server: Server) -> None:
    acknowledge = Acknowledger(server.acknowledge)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(acknowledge, "a", None)
        wait_for(lambda: server.calls)
        for name in "bcd":
            acknowledge(name, None)  # returns while the first call is held
        assert server.calls == [["a"]]
        server.may_go_on.set()
        first.result(DEADLINE_S)
    assert server.calls == [["a"], ["b", "c", "d"]]


def test_what_was_refused_is_acknowledged_with_the_next(server: Server) -> None:
    acknowledge = Acknowledger(server.acknowledge)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(acknowledge, "a", None)
        wait_for(lambda: server.calls)
        acknowledge("b", None)
        server.refusals = [ConnectionError("gone")]
        server.may_go_on.set()
        with pytest.raises(ConnectionError):
            first.result(DEADLINE_S)
    assert server.results == {}
    acknowledge("a", None)  # asked again, as Dramatiq does after a lost connection
    assert server.calls[1:] == [["a", "b"]]
    assert server.results == {"a": None, "b": None}


def test_interrupted_thread_leaves_the_work_to_the_next(server: Server) -> None:
    server.may_go_on.set()
    acknowledge = Acknowledger(server.acknowledge)
    server.refusals = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        acknowledge("a", None)
    acknowledge.flush()
    assert server.calls == [["a"], ["a"]]
    acknowledge.flush()
    assert server.calls == [["a"], ["a"]]


def test_many_threads_leave_nothing_behind() -> None:
    seen: list[str] = []
    lock = threading.Lock()

    def note(ended: Mapping[str, EncodedResult | None]) -> None:
        assert lock.acquire(blocking=False), "two at work"
        seen.extend(ended)
        lock.release()

    acknowledge = Acknowledger(note)

    def end_many(start: int) -> None:
        for number in range(start, start + 500):
            acknowledge(str(number), None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end_many, range(0, 8000, 1000), timeout=DEADLINE_S))
    assert sorted(seen, key=int) == [str(start + number) for start in range(0, 8000, 1000) for number in range(500)]
