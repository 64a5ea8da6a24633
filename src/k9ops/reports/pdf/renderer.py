"""The handles on rendering processes: one is kept warm, killed when it must stop, replaced in time.

A report in parts has as many as there are cores, while it is made.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from k9ops import errors
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import K9opsError, RenderingFailed
from k9ops.outcome import Execution
from k9ops.reports.pdf.own_folder import OwnFolder, remove_abandoned_folders

_LOG = get_logger("k9ops.reports")
_POLL_S = 0.25
_OUTPUT_KEPT_BYTES = 4_000
_CLASSES = {name: getattr(errors, name) for name in ("DiskFull", "GlyphMissing", "ReportTooLarge")}

_lock = threading.Lock()
_renderer: Renderer | None = None
_at_exit: Finalize | None = None


def render_pdf(settings: Settings, document: Path, output: Path, *, execution: Execution) -> int:
    """Render a document in the process's renderer, one at a time, and return its number of pages.

    Args:
        settings: Memory, documents until the renderer is replaced.
        document: The description.
        output: The PDF to write; whole only when this returns.
        execution: Asked four times a second whether to stop; the renderer is killed then.

    Raises:
        GlyphMissing: A character that the fonts lack.
        ReportTooLarge: Too many pages, or more memory than allowed.
        RenderingFailed: The renderer ended.
    """
    global _renderer
    while not _lock.acquire(timeout=_POLL_S):
        execution.check_stop()
    try:
        if _renderer is None or not _renderer.is_usable(settings):
            stop_renderer()
            _stop_at_exit()
            _renderer = Renderer(settings)
        try:
            answer = _renderer.carry_out({"document": str(document), "output": str(output)}, execution)
            if "parts" in answer:
                return _render_parts(settings, _renderer, answer["parts"], document, output, execution)
            return int(answer["pages"])
        except BaseException:
            stop_renderer()
            raise
    finally:
        _lock.release()


def stop_renderer() -> None:
    """End the rendering process, if there is one; the next document starts another."""
    global _renderer
    if _renderer is not None:
        _renderer.close()
    _renderer = None


def _stop_at_exit() -> None:
    """Stop the renderer when this process ends in order; those that Dramatiq forks do so without `atexit`."""
    global _at_exit
    if _at_exit is None:
        _at_exit = Finalize(None, stop_renderer, exitpriority=1)


def _forget_inherited() -> None:
    """Leave the parent's renderer to the parent."""
    global _at_exit, _renderer, _lock
    _lock, _renderer, _at_exit = threading.Lock(), None, None


os.register_at_fork(after_in_child=_forget_inherited)


class Renderer:
    """One rendering process in a session of its own.

    Args:
        settings: Its limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._memory_mb, self._limit = settings.report_memory_mb, settings.report_renderer_documents
        self._made = 0
        self._started_s = 0.0
        self._received = self._output = b""
        remove_abandoned_folders()
        self._folder = OwnFolder()
        command = [sys.executable, "-m", "k9ops.reports.pdf.child", str(os.getpid()), str(self._memory_mb)]
        self._process = subprocess.Popen(
            command,
            env={**_environment(), "TMPDIR": str(self._folder.path)},
            pass_fds=[self._folder.descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._selector = selectors.EpollSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None  # noqa: S101 - tells mypy what PIPE means
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)
        _LOG.debug("renderer.started", pid=self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_usable(self, settings: Settings) -> bool:
        """Tell whether it may make another document."""
        return (
            self._process.poll() is None
            and self._made < self._limit
            and (self._memory_mb, self._limit) == (settings.report_memory_mb, settings.report_renderer_documents)
        )

    def carry_out(self, order: Mapping[str, Any], execution: Execution) -> dict[str, Any]:
        """Return the answer to an order; errors as `render_pdf`."""
        return next(answer for _, answer in _carry_out([self], [order], execution))

    def send(self, order: Mapping[str, Any]) -> None:
        """Hand an order over; `receive` has its answer."""
        self._started_s, self._received = time.monotonic(), b""
        self._made += "joined" not in order and "spans" not in order
        assert self._process.stdin is not None  # noqa: S101 - tells mypy what PIPE means
        with contextlib.suppress(BrokenPipeError):  # how it ended is said by `receive`
            self._process.stdin.write((json.dumps(order) + "\n").encode())

    def fileno(self) -> int:
        """Return what becomes readable when there is something to receive."""
        return self._selector.fileno()

    def receive(self) -> dict[str, Any] | None:
        """Return the answer if it is whole; errors as `render_pdf`."""
        for key, _ in self._selector.select(0):
            chunk = os.read(key.fd, 65_536)
            if key.fileobj is self._process.stdout:
                self._received += chunk
            elif chunk:
                self._output = (self._output + chunk)[-_OUTPUT_KEPT_BYTES:]
            else:
                self._selector.unregister(key.fileobj)
            if key.fileobj is self._process.stdout and not chunk:
                code = self._process.wait()
                words = self._output.decode(errors="replace").strip()
                raise RenderingFailed("The process that renders reports ended.", exit_code=code, output=words)
        if not self._received.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(self._received)
        if "error" in answer:
            raise _as_error(answer, self._memory_mb)
        taken_s = round(time.monotonic() - self._started_s, 3)
        _LOG.debug("renderer.finished", pages=answer.get("pages"), duration_s=taken_s)
        return answer

    def close(self) -> None:
        """Kill it and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._folder.remove()


def _render_parts(
    settings: Settings,
    first: Renderer,
    parts: Sequence[Mapping[str, Any]],
    document: Path,
    output: Path,
    execution: Execution,
) -> int:
    """Render the parts of a document side by side, join them and return the number of pages."""
    wanted = settings.report_processes or len(os.sched_getaffinity(0))
    files = [output.with_name(f"{output.name}.part{number}") for number in range(len(parts))]
    planned = [int(part["pages"]) for part in parts]
    counts = [0] * len(parts)
    _LOG.debug("report.divided", parts=len(parts), pages=sum(planned))
    helpers: list[Renderer] = []
    try:
        helpers += (Renderer(settings) for _ in range(min(wanted, len(parts)) - 1))
        numbers: dict[int, tuple[int, int]] = {}
        # A part seldom has another number of pages than was planned; those whose numbers are wrong are made again.
        while stale := [
            place for place in range(len(parts)) if numbers.get(place) != (sum(planned[:place]) + 1, sum(planned))
        ]:
            numbers |= {place: (sum(planned[:place]) + 1, sum(planned)) for place in stale}
            orders = [
                {
                    "document": str(document),
                    "output": str(files[place]),
                    "spans": parts[place]["spans"],
                    "numbers": numbers[place],
                }
                for place in stale
            ]
            for index, answer in _carry_out([first, *helpers], orders, execution):
                counts[stale[index]] = int(answer["pages"])
                execution.report_progress(min(sum(counts), sum(planned)), sum(planned), "pages")
            planned = list(counts)
        order = {"document": str(document), "output": str(output), "joined": [str(file) for file in files]}
        pages = int(first.carry_out(order, execution)["pages"])
    finally:
        for helper in helpers:
            helper.close()
        for file in files:
            file.unlink(missing_ok=True)
    if pages != sum(counts):
        raise RenderingFailed("The report could not be joined.", pages=pages, expected=sum(counts))
    return pages


def _carry_out(
    renderers: Sequence[Renderer], orders: Sequence[Mapping[str, Any]], execution: Execution
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each renderer an order as soon as it is free, and yield the orders' places and answers as they come."""
    waiting = deque(enumerate(orders))
    idle, busy = deque(renderers), dict[Renderer, int]()
    while waiting or busy:
        while waiting and idle:
            renderer = idle.popleft()
            busy[renderer], order = waiting.popleft()
            renderer.send(order)
        execution.check_stop()
        ready, _, _ = select.select(list(busy), [], [], _POLL_S)
        for renderer in ready:
            answer = renderer.receive()
            if answer is not None:
                idle.append(renderer)
                yield busy.pop(renderer), answer


def _environment() -> dict[str, str]:
    """Return what the renderer needs of the environment: no address, no secret."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "HOME", "XDG_CACHE_HOME", "PYTHONPATH", "LD_LIBRARY_PATH")
        if name in os.environ
    }
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}


def _as_error(answer: dict[str, Any], memory_mb: int) -> K9opsError:
    name, detail = answer["error"], answer["detail"]
    if name in _CLASSES:
        error: K9opsError = _CLASSES[name](answer["message"], **detail)
        return error
    if name == "MemoryError":
        return errors.ReportTooLarge(
            f"The report needs more than the {memory_mb} MB that K9OPS_REPORT_MEMORY_MB allows:"
            " choose a shorter period or the format xlsx."
        )
    if name == "RendererMissing":
        return errors.RendererMissing(
            "PDF reports need Pango, which is not installed here:"
            " sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0. The formats xlsx and csv do without.",
            **detail,
        )
    return RenderingFailed("The report could not be laid out.", kind=name, **detail)
