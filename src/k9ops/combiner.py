"""Carrying out together what several threads ask for at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class _Place(Generic[_Item, _Answer]):
    """Of one thread in the line."""

    def __init__(self, item: _Item) -> None:
        self.item = item
        self.answers: list[_Answer] = []
        self.error: Exception | None = None
        self.was_carried_out = False
        self.turn = threading.Lock()
        self.turn.acquire()


class Combiner(Generic[_Item, _Answer]):
    """Carries out one thread's item at once, and together those that arrive meanwhile.

    Whoever finds nobody at work does it, in its own thread; the next of those who wait then does it for all of them. So
    one item alone waits for nothing, and under load a round trip is shared. When several fail together, each is carried
    out alone, so that one bad item harms no other.

    Args:
        carry_out: Takes items, and returns the answer to each in their order.
        most: So many items at once.
    """

    def __init__(self, carry_out: Callable[[Sequence[_Item]], Sequence[_Answer]], *, most: int = 64) -> None:
        self._carry_out = carry_out
        self._most = most
        self._lock = threading.Lock()
        self._line: list[_Place[_Item, _Answer]] = []
        self._at_work: _Place[_Item, _Answer] | None = None

    def __call__(self, item: _Item) -> _Answer:
        """Have an item carried out, and return its answer.

        Raises:
            Exception: What `carry_out` raises for this item alone.
        """
        place: _Place[_Item, _Answer] = _Place(item)
        with self._lock:
            self._line.append(place)
            self._at_work = self._at_work or place
            is_first = self._at_work is place
        try:
            if not is_first:
                place.turn.acquire()
            if not place.was_carried_out:
                self._carry_out_line()
        except BaseException:  # raised in this thread by another
            self._leave(place)
            raise
        if place.error:
            raise place.error
        return place.answers[0] if place.answers else self._carry_out([item])[0]

    def _leave(self, place: _Place[_Item, _Answer]) -> None:
        """Take an interrupted thread out of the line, and pass its turn on when it had it."""
        with self._lock:
            if place not in self._line:
                return
            self._line.remove(place)
            following = self._pass_on() if self._at_work is place else None
        if following:
            following.turn.release()

    def _pass_on(self) -> _Place[_Item, _Answer] | None:
        self._at_work = self._line[0] if self._line else None
        return self._at_work

    def _carry_out_line(self) -> None:
        """Carry out the items of those in the line, then let the next of those who have come meanwhile do so."""
        with self._lock:
            batch, self._line = self._line[: self._most], self._line[self._most :]
        try:
            answers = self._carry_out([place.item for place in batch])
            for place, answer in zip(batch, answers, strict=True):
                place.answers.append(answer)
        except Exception as exc:
            if len(batch) == 1:
                batch[0].error = exc
        finally:
            with self._lock:
                following = self._pass_on()
            for place in batch:
                place.was_carried_out = True
            for place in (*batch[1:], *([following] if following else [])):
                place.turn.release()
