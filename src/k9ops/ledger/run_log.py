"""The last log lines of a run, kept with it: collected while it is executed, bounded, without private values."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text

from k9ops.config.logging import mask_passwords
from k9ops.db.engine import database_errors
from k9ops.db.storable import make_storable
from k9ops.errors import RunNotFound
from k9ops.private import HIDDEN, pick_private

#: A run keeps as many lines; older ones go.
KEPT_LINES = 200

_LONGEST_TEXT = 500
_LONGEST_LINE = 4000
_SHORTEST_SECRET = 3
# The row of the run says these already.
_KNOWN_FIELDS = frozenset({"run_id", "job", "queue", "attempt", "worker", "logger", "exc_info", "stack_info"})
_KNOWN_EVENTS = frozenset({"run.started"})

#: What an UPDATE sets `log` to; `:log` is a JSON list of new lines, or NULL.
APPEND_LOG = f"""
    log = CASE WHEN CAST(:log AS jsonb) IS NULL THEN log
               ELSE jsonb_path_query_array(coalesce(log, jsonb_build_array()) || CAST(:log AS jsonb),
                                           '$[last - {KEPT_LINES - 1} to last]') END
"""

_STORE = text(f"""
    UPDATE k9ops.run SET {APPEND_LOG.replace(":log", "held.lines")}
    FROM unnest(CAST(:ids AS uuid[]), CAST(:owners AS text[]), CAST(:logs AS text[])) AS held (id, owner, lines)
    WHERE run.id = held.id AND run.lease_owner = held.owner AND run.state = 'running'
""")


class LogTail:
    """What a run has logged and is not stored yet.

    Args:
        attempt: Of the run; each line has it.
        params: Of the run.
        private_params: Names of those whose values appear nowhere.
    """

    def __init__(self, *, attempt: int, params: Mapping[str, Any], private_params: Collection[str]) -> None:
        self._attempt = attempt
        self._private_names = frozenset(private_params)
        private = _find_texts(pick_private(params, private_params))
        written = {form for item in private if len(item) >= _SHORTEST_SECRET for form in _find_forms(item)}
        self._private = sorted(written, key=len, reverse=True)
        self._lines: deque[tuple[int, dict[str, Any]]] = deque(maxlen=KEPT_LINES)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, event: Mapping[str, Any]) -> None:
        """Take a log event: its name, `level`, `at` and fields."""
        if event.get("event") in _KNOWN_EVENTS:
            return
        fields = {
            str(name): self._clean(name, value)
            for name, value in event.items()
            if name not in _KNOWN_FIELDS and not str(name).startswith("_")
        }
        error = event.get("exc_info")
        if isinstance(error, BaseException):
            fields["error"] = self._clean("error", f"{type(error).__name__}: {error}")
        if len(json.dumps(fields, ensure_ascii=False)) > _LONGEST_LINE:
            fields = {name: fields[name] for name in ("event", "level", "at") if name in fields}
        with self._lock:
            self._count += 1
            self._lines.append((self._count, {"attempt": self._attempt, "n": self._count, **fields}))

    def pending(self) -> tuple[list[dict[str, Any]], int]:
        """Return the lines that are not known to be stored, and the number of the last."""
        with self._lock:
            return [line for _, line in self._lines], self._count

    def forget(self, number: int) -> None:
        """Drop the lines up to a number: they are stored."""
        with self._lock:
            while self._lines and self._lines[0][0] <= number:
                self._lines.popleft()

    def hide(self, words: str) -> str:
        """Return a text without private values and passwords."""
        for secret in self._private:
            words = words.replace(secret, HIDDEN)
        return mask_passwords(words)

    def _clean(self, name: object, value: Any) -> Any:
        if name in self._private_names:
            return HIDDEN
        if value is None or (isinstance(value, bool | int | float) and str(value) not in self._private):
            return value if not isinstance(value, float) or math.isfinite(value) else str(value)
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        words = make_storable(self.hide(words))
        return words if len(words) <= _LONGEST_TEXT else f"{words[:_LONGEST_TEXT]}…"


def store_logs(engine: Engine, held: Sequence[tuple[uuid.UUID, str, Sequence[Mapping[str, Any]]]]) -> None:
    """Store log lines of runs while they are executed.

    Args:
        engine: The ledger's database.
        held: Each run's id, the owner of its claim, and its new lines.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    values = {
        "ids": [run_id for run_id, _, _ in held],
        "owners": [owner for _, owner, _ in held],
        "logs": [encode_log(lines) for _, _, lines in held],
    }
    with database_errors(), engine.begin() as connection:
        connection.execute(_STORE, values)


def encode_log(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Return lines as `APPEND_LOG` takes them."""
    encoded: str | None = make_storable(json.dumps(list(lines), ensure_ascii=False)) if lines else None
    return encoded


def read_log(engine: Engine, run_id: uuid.UUID) -> list[dict[str, Any]]:
    """Return the kept log lines of a run, oldest first.

    Each has `attempt`, `at` (ISO 8601), `level`, `event` and the fields of the event.

    Raises:
        RunNotFound: No run has this id.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        row = connection.execute(text("SELECT log FROM k9ops.run WHERE id = :id"), {"id": run_id}).one_or_none()
    if row is None:
        raise RunNotFound(f"There is no run {run_id}.")
    # A line that was stored twice, as the answer to the first time was lost, is told once.
    lines = {json.dumps(line, sort_keys=True): line for line in row.log or ()}
    return [{name: value for name, value in line.items() if name != "n"} for line in lines.values()]


def _find_forms(text: str) -> set[str]:
    """Return a text as it stands in JSON and in Python's own notation, too."""
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    }


def _find_texts(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {item for part in value.values() for item in _find_texts(part)}
    if isinstance(value, list | tuple):
        return {item for part in value for item in _find_texts(part)}
    return set() if value is None or isinstance(value, bool) else {str(value)}
