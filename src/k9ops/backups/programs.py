"""Running pg_dump and pg_restore: data pumped through, never longer silent than allowed, ended as a group."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from k9ops.backups.connections import STOP_POLL_S, DatabaseTarget
from k9ops.errors import ClientFailed, ClientMemoryExceeded
from k9ops.outcome import Execution
from k9ops.process_memory import limit_address_space

CHUNK_BYTES = 1024 * 1024

_MESSAGES_KEPT_BYTES = 64 * 1024
_TERMINATE_WAIT_S = 5.0
_OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "failed to map segment")

Sink = Callable[[memoryview], object]


@dataclass(frozen=True)
class ProgramResult:
    """How a program ended.

    Attributes:
        return_code: As of `subprocess`.
        messages: The end of its standard error.
    """

    return_code: int
    messages: str

    @property
    def first_error(self) -> str:
        """The first line that reports an error, for a person; `""` without one."""
        lines = [line for line in self.messages.splitlines() if "error:" in line.lower()]
        return lines[0].partition("error: ")[2] if lines else ""

    @property
    def problem(self) -> str:
        """Why it failed, for a person."""
        if self.return_code == -signal.SIGKILL:
            return "it was killed from outside; perhaps the machine, or its container, has too little memory"
        return self.first_error or f"code {self.return_code}"

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it was refused memory itself; the server's own troubles are reported as `ERROR`."""
        lines = [line.lower() for line in self.messages.splitlines() if "ERROR:" not in line]
        return self.return_code != 0 and any(words in line for line in lines for words in _OUT_OF_MEMORY)


def run_program(
    arguments: Sequence[str],
    *,
    target: DatabaseTarget,
    execution: Execution,
    stall_s: float,
    memory_mb: int,
    source: Iterable[bytes] = (),
    sink: Sink | None = None,
    listen: Callable[[str], object] | None = None,
    is_busy: Callable[[], bool] = lambda: False,
) -> ProgramResult:
    """Run a PostgreSQL program to its end in a session of its own.

    Args:
        arguments: The program and its options, without `--dbname`.
        target: The database it connects to.
        execution: Asked at least twice a second whether to stop.
        stall_s: Longest time without a byte moved.
        memory_mb: Its address space, and that of each process that it starts.
        source: What it reads from standard input.
        sink: Takes what it writes to standard output; must use the view before it returns.
        listen: Takes each whole line of its standard error.
        is_busy: Asked when the time is over: True when it works although no byte moves.

    Raises:
        ClientFailed: It moved nothing for too long.
        ClientMemoryExceeded: It needs more memory.
    """
    program = os.path.basename(arguments[0])  # noqa: PTH119
    process = subprocess.Popen(
        [*arguments, "--no-password", f"--dbname={target.program_argument()}"],
        env=target.program_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    limit_address_space(memory_mb, pid=process.pid)
    with process, _ended_on_error(process), contextlib.closing(_Pump(process, source, sink, listen)) as pump:
        moved_at = time.monotonic()
        while pump.is_open or process.poll() is None:
            execution.check_stop()
            if pump.move(STOP_POLL_S):
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > stall_s:
                if not is_busy():
                    raise ClientFailed(f"{program} moved no byte for {stall_s:g} s and was ended.", pid=process.pid)
                moved_at = time.monotonic()
        result = ProgramResult(process.returncode, pump.messages)
    if result.is_out_of_memory:
        raise ClientMemoryExceeded(
            f"{program} needs more than the {memory_mb} MB of memory that K9OPS_BACKUP_CLIENT_MEMORY_MB allows it."
            " Allow it more.",
            messages=result.messages,
        )
    return result


@contextlib.contextmanager
def _ended_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TERMINATE_WAIT_S)
        raise


class _Pump:
    """Moves bytes between a process and us, whichever side is ready."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        source: Iterable[bytes],
        sink: Sink | None,
        listen: Callable[[str], object] | None,
    ) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs three pipes")
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._source = iter(source)
        self._sink = sink
        self._hear = listen
        self._line = b""
        self._pending = memoryview(b"")
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._tail = b""
        self._selector = selectors.DefaultSelector()
        for pipe in (self._stdin, self._stdout):
            _widen(pipe.fileno())
        os.set_blocking(self._stdin.fileno(), False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE, self._feed)
        self._selector.register(self._stdout, selectors.EVENT_READ, self._take)
        self._selector.register(self._stderr, selectors.EVENT_READ, self._listen)

    @property
    def is_open(self) -> bool:
        return bool(self._selector.get_map())

    @property
    def messages(self) -> str:
        return self._tail.decode(errors="replace").strip()

    def move(self, timeout_s: float) -> bool:
        """Wait at most so long, and tell whether anything moved."""
        if not self.is_open:
            time.sleep(0.01)
            return False
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def _feed(self) -> None:
        try:
            if not self._pending:
                self._pending = memoryview(next(self._source))
            written = os.write(self._stdin.fileno(), self._pending[:CHUNK_BYTES])
            self._pending = self._pending[written:]
        except BlockingIOError:
            return
        except (StopIteration, BrokenPipeError):
            self._close(self._stdin)

    def _take(self) -> None:
        count = os.readv(self._stdout.fileno(), [self._buffer])
        if count == 0:
            self._close(self._stdout)
        elif self._sink is not None:
            self._sink(self._buffer[:count])

    def _listen(self) -> None:
        chunk = os.read(self._stderr.fileno(), _MESSAGES_KEPT_BYTES)
        if not chunk:
            self._close(self._stderr)
        self._tail = (self._tail + chunk)[-_MESSAGES_KEPT_BYTES:]
        if self._hear is not None:
            *lines, self._line = (self._line + chunk).split(b"\n")
            for line in lines:
                self._hear(line.decode(errors="replace"))

    def _close(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def close(self) -> None:
        self._selector.close()


def _widen(descriptor: int) -> None:
    """Fewer, larger transfers; where the system refuses, the pipe stays as it is."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
