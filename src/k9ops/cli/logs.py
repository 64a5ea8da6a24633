"""`k9ops logs`: JSON lines of the service, chosen and readable."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.text import Text

from k9ops.cli.output import output_console, print_remark
from k9ops.cli.session import open_settings
from k9ops.cli.since import parse_since
from k9ops.errors import ParamsInvalid

_LEVELS = ("debug", "info", "warning", "error", "critical")
_STYLES = {"debug": "dim", "warning": "yellow", "error": "bold red", "critical": "bold red"}
_OWN_FIELDS = frozenset({"event", "level", "at", "job", "run_id", "queue", "attempt", "exception", "error_traceback"})
_SHORT_ID = 8
_POLL_S = 0.2

# What `docker compose logs` and `k9ops up` put before a line.
_PREFIX = re.compile(r"^[\w.-]+\s+[|│]\s+(?=\{)")

Level = StrEnum("Level", [(name, name) for name in _LEVELS])  # type: ignore[misc]


@dataclass(frozen=True)
class LogFilter:
    """Which events are wanted; None wants all.

    Attributes:
        run: Beginning of a run's id.
        job: Name of a job.
        level: Least severe level.
        since: Aware.
    """

    run: str | None = None
    job: str | None = None
    level: str | None = None
    since: datetime | None = None

    @property
    def wants_all(self) -> bool:
        """Whether nothing is left out."""
        return self == LogFilter()

    def wants(self, event: dict[str, Any]) -> bool:
        """Tell whether an event is wanted."""
        if self.run is not None and not str(event.get("run_id", "")).startswith(self.run):
            return False
        if self.job is not None and event.get("job") != self.job:
            return False
        if self.level is not None and _rank(event.get("level")) < _rank(self.level):
            return False
        return self.since is None or (read_moment(event) or datetime.max.replace(tzinfo=UTC)) >= self.since


def logs(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Log file; standard input without one.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only this run: its id, or the beginning of it.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job.")] = None,
    level: Annotated[Level | None, typer.Option("--level", help="Only this level and what is more severe.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only since: 30m, 2h, 7d, or a date.")] = None,
    is_following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written later.")] = False,
    is_raw: Annotated[bool, typer.Option("--raw", "--json", help="Pass the lines on as they are.")] = False,
) -> None:
    """Read the service's JSON log: a file, or standard input, chosen and readable.

    Lines that are no JSON are shown only when nothing is chosen.
    """
    settings = open_settings()
    wanted = LogFilter(
        run=run.strip().lower() if run else None,
        job=job,
        level=str(level.value) if level else None,
        since=parse_since(since, settings, now=datetime.now(UTC)) if since else None,
    )
    lines = _open_lines(file, is_following=is_following)
    console = output_console()
    others = 0
    try:
        for line in lines:
            event = read_event(line)
            if event is None:
                others += not wanted.wants_all
                if wanted.wants_all:
                    _write(line)
            elif wanted.wants(event):
                _write(strip_prefix(line) if is_raw else _render(console, event, settings.zone))
    except BrokenPipeError:
        # Whoever read has had enough; nothing more may be flushed at the end either.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if others:
        print_remark(f"{others} lines were no JSON and are left out.")


def strip_prefix(line: str) -> str:
    """Return a line without what `docker compose logs` or `k9ops up` put before it."""
    return _PREFIX.sub("", line)


def read_event(line: str) -> dict[str, Any] | None:
    """Return the event of a line; None when it is no JSON object with an event."""
    text = strip_prefix(line)
    if not text.startswith("{"):
        return None
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "event" in event else None


def read_moment(event: dict[str, Any]) -> datetime | None:
    """Return when an event happened, aware; None when it does not say."""
    try:
        moment = datetime.fromisoformat(str(event.get("at")))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_event(event: dict[str, Any], zone: ZoneInfo) -> Text:
    """Return an event for a person: one line, and below it a traceback if there is one."""
    moment, level = read_moment(event), str(event.get("level", "info"))
    style = _STYLES.get(level, "")
    text = Text()
    text.append(_format_moment(moment, zone), style="dim")
    text.append(f" {_escape(level):<8}", style=style)
    text.append(f" {_escape(event['event'])}", style=style or "bold")
    if event.get("job"):
        text.append(f" {_escape(event['job'])}", style="cyan")
    if event.get("run_id"):
        text.append(f" {_escape(event['run_id'])[:_SHORT_ID]}", style="magenta")
    if event.get("attempt") not in (None, 1):
        text.append(f" attempt={_escape(event['attempt'])}")
    for name, value in event.items():
        if name not in _OWN_FIELDS:
            text.append(f" {_escape(name)}=", style="dim")
            text.append(_escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    for name in ("error_traceback", "exception"):
        if event.get(name):
            lines = str(event[name]).rstrip().splitlines()
            text.append("".join(f"\n{_escape(line)}" for line in lines), style="dim")
    return text


def _format_moment(moment: datetime | None, zone: ZoneInfo) -> str:
    if moment is None:
        return " " * 19
    try:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{moment:%Y-%m-%d %H:%M:%S}"


def _escape(value: Any) -> str:
    """Return a value as text that stays on its line, moves no cursor and can be written in UTF-8."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _rank(level: Any) -> int:
    return _LEVELS.index(level) if level in _LEVELS else _LEVELS.index("info")


def _render(console: Console, event: dict[str, Any], zone: ZoneInfo) -> str:
    """Return an event with its colours; the console's own writing would end the process at a broken pipe."""
    with console.capture() as capture:
        console.print(format_event(event, zone), soft_wrap=True)
    return capture.get().rstrip("\n")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _open_lines(file: Path | None, *, is_following: bool) -> Iterator[str]:
    if file is None:
        if sys.stdin.isatty():
            raise ParamsInvalid("Name a log file, or pipe a log into this command.")
        stream = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
        return (line.rstrip("\n") for line in stream)
    return follow_file(file) if is_following else _read_file(file)


def _read_file(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            yield line.rstrip("\n")


def follow_file(file: Path) -> Iterator[str]:
    """Return the lines of a file and those that are written later, for ever; it may be rotated or cut off."""
    stream: IO[bytes] = file.open("rb")
    try:
        rest = b""
        while True:
            piece = stream.readline()
            if piece:
                rest += piece
                if rest.endswith(b"\n"):
                    yield rest.decode("utf-8", "replace").rstrip("\r\n")
                    rest = b""
                continue
            renewed = _reopen(file, stream)
            if renewed is None:
                time.sleep(_POLL_S)
            elif renewed is not stream:
                stream.close()
                stream, rest = renewed, b""
    finally:
        stream.close()


def _reopen(file: Path, stream: IO[bytes]) -> IO[bytes] | None:
    """Return a stream that has more to read: a new file of the name, or the same one when it was cut off."""
    try:
        there, ours = file.stat(), os.fstat(stream.fileno())
    except FileNotFoundError:
        return None
    if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
        with suppress(FileNotFoundError):
            return file.open("rb")
        return None
    if there.st_size < stream.tell():
        stream.seek(0)
        return stream
    return None
