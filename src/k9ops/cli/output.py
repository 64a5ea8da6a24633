"""What the command prints: tables for a person, one JSON document for a program, errors for both."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

_PIPE_WIDTH = 200
_STYLES = {
    "succeeded": "green",
    "verified": "green",
    "ok": "green",
    "partial": "yellow",
    "skipped": "cyan",
    "unverified": "yellow",
    "warn": "yellow",
    "retrying": "yellow",
    "running": "blue",
    "failed": "bold red",
    "fail": "bold red",
    "expired": "red",
    "cancelled": "magenta",
}


class StandardError:
    """Standard error as it is at each write, so that log lines and a progress bar share the screen."""

    def write(self, text: str) -> int:
        """Write text."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return sys.stderr.isatty()


def output_console() -> Console:
    """Return the console of results, standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def error_console() -> Console:
    """Return the console of progress, remarks and errors, standard error."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH, highlight=False)


def print_json(document: Any) -> None:
    """Print the JSON document of a command."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def print_text(text: str) -> None:
    """Print a line of a result, as it is."""
    output_console().print(Text(text), soft_wrap=True)


def print_remark(text: str) -> None:
    """Print a line that is no result on standard error."""
    error_console().print(Text(text), soft_wrap=True)


def print_error(message: str, *, kind: str, as_json: bool) -> None:
    """Print an error: a sentence on standard error, and a document on standard output for a program."""
    if as_json:
        print_json({"error": {"kind": kind, "message": message}})
    error_console().print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[RenderableType]], *, empty: str) -> None:
    """Print a table, or a sentence when it has no rows.

    Args:
        columns: Headings; one that begins with `>` is set to the right.
        rows: Cells; text is printed as it is.
        empty: The sentence.
    """
    if not rows:
        print_text(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    output_console().print(table)


def print_fields(fields: Mapping[str, str | Text | None]) -> None:
    """Print names with their values; a value of None is left out, further lines of one stand below its first."""
    shown = {name: value for name, value in fields.items() if value is not None}
    width = max((len(name) for name in shown), default=0) + 2
    console = output_console()
    for name, value in shown.items():
        text = Text(value) if isinstance(value, str) else value
        for position, line in enumerate(text.split()):
            label = name if position == 0 else ""
            row = Text.assemble((f"{label:<{width}}", "bold"), line)
            row.rstrip()
            console.print(row, soft_wrap=True)


def style_state(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=_STYLES.get(state, ""))


def format_bytes(size_bytes: float) -> str:
    """Return a size for a person, e.g. `3.2 MB`; powers of 1000.

    Example:
        >>> format_bytes(3_210_000)
        '3.2 MB'
    """
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_moment(moment: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment in the unit's time zone, to the second; `-` for None."""
    return "-" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def format_duration(duration_s: float | None) -> str:
    """Return a duration for a person, e.g. `0.8 s` or `2 min 5 s`; `-` for None.

    Example:
        >>> format_duration(125.0)
        '2 min 5 s'
    """
    if duration_s is None:
        return "-"
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
