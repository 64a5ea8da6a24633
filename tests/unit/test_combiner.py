from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.processes import DEADLINE_S, wait_for

from k9ops.combiner import Combiner


class Server:
    """Doubles numbers; holds its first call until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_go_on = threading.Event()

    def double(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        if len(self.calls) == 1:
            assert self.may_go_on.wait(DEADLINE_S)
        if 13 in numbers:
            raise ValueError(f"unlucky among {len(numbers)}")
        return [number * 2 for number in numbers]


def ask(server: Server, numbers: Sequence[int], *, most: int = 64) -> list[Future[int]]:
    """Ask for the first number, and for the others while it is being answered, in their order."""
    combiner = Combiner(server.double, most=most)
    with ThreadPoolExecutor(len(numbers)) as pool:
        asked = [pool.submit(combiner, numbers[0])]
        wait_for(lambda: server.calls)
        for place, number in enumerate(numbers[1:], start=1):
            asked.append(pool.submit(combiner, number))
            wait_for(lambda place=place: len(combiner._line) == place)
        server.may_go_on.set()
    return asked


def test_item_alone_is_carried_out_at_once() -> None:
    server = Server()
    server.may_go_on.set()
    combiner = Combiner(server.double)
    assert [combiner(1), combiner(2)] == [2, 4]
    assert server.calls == [[1], [2]]


def test_items_that_arrive_meanwhile_share_a_call() -> None:
    server = Server()
    assert [item.result() for item in ask(server, range(6))] == [0, 2, 4, 6, 8, 10]
    assert server.calls == [[0], [1, 2, 3, 4, 5]]


def test_no_call_has_more_than_the_most() -> None:
    server = Server()
    assert [item.result() for item in ask(server, range(6), most=2)] == [0, 2, 4, 6, 8, 10]
    assert server.calls == [[0], [1, 2], [3, 4], [5]]


def test_bad_item_harms_no_other() -> None:
    server = Server()
    *good, bad = ask(server, [1, 2, 3, 13])
    assert [item.result() for item in good] == [2, 4, 6]
    assert str(bad.exception()) == "unlucky among 1"
    assert server.calls[:2] == [[1], [2, 3, 13]]
    assert sorted(server.calls[2:]) == [[2], [3], [13]]


def test_error_of_the_first_lets_the_next_go_on() -> None:
    first, second = ask(Server(), [13, 4])
    assert str(first.exception()) == "unlucky among 1"
    assert second.result() == 8


def test_many_threads_get_their_own_answers() -> None:
    combiner = Combiner(lambda numbers: [number * 2 for number in numbers], most=3)

    def ask_many(start: int) -> bool:
        return all(combiner(number) == number * 2 for number in range(start, start + 500))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask_many, range(0, 8000, 1000), timeout=DEADLINE_S))


def test_wrong_number_of_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        Combiner(lambda numbers: [*numbers, 0])(1)


class Interrupted(BaseException):
    """Raised in a thread by another."""


def test_interrupted_thread_leaves_the_line_to_the_others() -> None:
    server = Server()
    combiner = Combiner(server.double)
    raised: list[type[BaseException]] = []

    def wait_in_line() -> None:
        try:
            combiner(7)
        except Interrupted:
            raised.append(Interrupted)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(combiner, 1)
        wait_for(lambda: server.calls)
        waiting = threading.Thread(target=wait_in_line)
        waiting.start()
        wait_for(lambda: len(combiner._line) == 1)
        place = combiner._line[0]
        interrupt(waiting)
        place.turn.release()  # a lock lets no interrupt in before it is given
        waiting.join(DEADLINE_S)
        last = pool.submit(combiner, 3)
        wait_for(lambda: len(combiner._line) == 1)
        server.may_go_on.set()
    assert raised == [Interrupted]
    assert [first.result(), last.result()] == [2, 6]
    assert combiner(4) == 8


def test_thread_that_is_interrupted_in_its_turn_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.may_go_on.set()
    combiner = Combiner(server.double)

    def be_interrupted() -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(combiner, "_carry_out_line", be_interrupted)
        with pytest.raises(Interrupted):
            combiner(1)
    assert combiner(2) == 4


def interrupt(thread: threading.Thread) -> None:
    """Raise `Interrupted` in a thread, as Dramatiq raises its time limits."""
    count = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_long(thread.ident or 0), ctypes.py_object(Interrupted))
    assert count == 1
