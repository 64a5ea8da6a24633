"""The log of `k9ops up`: lines of several processes on one output."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import IO, Any

from rich.console import Console
from rich.text import Text

_COLOURS = ("cyan", "green", "magenta", "blue")
_NAME_WIDTH = 9
_OWN_NAME = "up"


class Announcer:
    """Writes whole lines, whoever they come from.

    Args:
        as_json: One JSON document a line, for a log collector; otherwise each line begins with its source.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._lock = threading.Lock()
        self._console = Console(highlight=False, soft_wrap=True)
        self._colours: dict[str, str] = {}

    def say(self, event: str, text: str, **detail: Any) -> None:
        """Tell what `k9ops up` itself has done.

        Args:
            event: Static name, for a program.
            text: For a person.
            **detail: JSON values, for a program.
        """
        if self.as_json:
            at = datetime.now(UTC).isoformat()
            self._write(json.dumps({"event": event, "message": text, **detail, "at": at}, ensure_ascii=False))
        else:
            self.relay(_OWN_NAME, text)

    def relay(self, source: str, line: str) -> None:
        """Pass on a line of another process."""
        if not self.as_json:
            self._print(source, line)
        elif line.startswith("{"):
            self._write(line)
        elif line.strip():
            self.say("process.said", line, source=source)

    def relay_all(self, source: str, stream: IO[bytes]) -> threading.Thread:
        """Pass on all lines of a stream, in a thread that ends with it."""

        def run() -> None:
            with stream:
                for raw in stream:
                    self.relay(source, raw.decode(errors="replace").rstrip("\n"))

        thread = threading.Thread(target=run, name=f"log-{source}", daemon=True)
        thread.start()
        return thread

    def _print(self, source: str, line: str) -> None:
        with self._lock:
            colour = self._colours.setdefault(source, _COLOURS[len(self._colours) % len(_COLOURS)])
            self._console.print(
                Text(f"{source:<{_NAME_WIDTH}} │ ", style=colour), Text.from_ansi(line), sep="", end="\n"
            )

    def _write(self, line: str) -> None:
        with self._lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
