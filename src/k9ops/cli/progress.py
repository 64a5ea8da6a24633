"""How far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from k9ops.cli.output import error_console, format_bytes, format_duration

_LINE_EVERY_S = 5.0
_SHORTEST_S = 0.5


class Pace:
    """How fast bytes go, and how long the rest will take, from what this process saw of it.

    What was done before the first report counts for nothing: an upload may go on where another one stopped.
    """

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def describe(self, done: int, total: int, *, now_s: float) -> str:
        """Return the rate and the time left, e.g. `, 3.2 MB/s, 2 min 5 s left`; "" while nothing can be said.

        Args:
            done: Bytes.
            total: Bytes, 0 when unknown.
            now_s: Of a clock that only goes forward.
        """
        if self._start is None or done < self._start[1]:
            self._start = (now_s, done)
        start_s, start_bytes = self._start
        if now_s - start_s < _SHORTEST_S or done == start_bytes:
            return ""
        rate = (done - start_bytes) / (now_s - start_s)
        text = f", {format_bytes(rate)}/s"
        return f"{text}, {format_duration((total - done) / rate)} left" if total > done else text


class ProgressDisplay:
    """One line or bar that follows a piece of work.

    Args:
        label: What is being done.
        bar: Where it is shown; None prints plain lines.
        is_silent: Show nothing.
    """

    def __init__(self, label: str, *, bar: Progress | None, is_silent: bool) -> None:
        self._label = label
        self._bar = bar
        self._task: TaskID | None = bar.add_task(label, total=None, amount="") if bar else None
        self._is_silent = is_silent
        self._next_line_s = time.monotonic() + _LINE_EVERY_S
        self._pace = Pace()

    def report(self, done: int, total: int, unit: str) -> None:
        """Show that `done` of `total` is done; a total of 0 is unknown."""
        amount = _describe(done, total, unit)
        if unit == "bytes":
            amount += self._pace.describe(done, total, now_s=time.monotonic())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=max(done, total) or None, amount=amount)
        elif not self._is_silent and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + _LINE_EVERY_S
            error_console().print(Text(f"{self._label}: {amount}"))

    def relabel(self, label: str) -> None:
        """Say something else about the work."""
        if label == self._label:
            return
        self._label = label
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=label)
        elif not self._is_silent:
            error_console().print(Text(label))


@contextmanager
def show_progress(label: str, *, is_silent: bool) -> Iterator[ProgressDisplay]:
    """Show a piece of work while the block runs.

    Args:
        label: What is being done.
        is_silent: Show nothing, for `--json`.
    """
    console = error_console()
    if is_silent or not console.is_terminal:
        yield ProgressDisplay(label, bar=None, is_silent=is_silent)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield ProgressDisplay(label, bar=bar, is_silent=False)


def _describe(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{format_bytes(done)} of about {format_bytes(total)}" if total else format_bytes(done)
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"
