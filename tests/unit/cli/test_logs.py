from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from k9ops.cli.logs import LogFilter, follow_file, format_event, read_event, strip_prefix

EVENT: dict[str, Any] = {
    "event": "run.finished",
    "level": "error",
    "at": "2026-11-24T02:00:00.123456Z",
    "job": "create_backup",
    "run_id": "4f1c2a9b-0000-4000-8000-000000000000",
    "attempt": 2,
    "state": "failed",
    "error_traceback": "Traceback\n  File x",
}
LINE = json.dumps(EVENT)


@pytest.mark.parametrize(
    "line", [LINE, f"worker-1  | {LINE}", f"k9ops-worker-backups-2 | {LINE}", f"backups   │ {LINE}"]
)
def test_read_event_understands_prefixes(line: str) -> None:
    assert read_event(line) == EVENT
    assert strip_prefix(line) == LINE


@pytest.mark.parametrize(
    "line", ["", "Traceback (most recent call last):", "{broken", '{"no": "event"}', "[1]", "x | y"]
)
def test_read_event_leaves_other_lines_alone(line: str) -> None:
    assert read_event(line) is None
    assert strip_prefix(line) == line


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (LogFilter(), True),
        (LogFilter(run="4f1c"), True),
        (LogFilter(run="5"), False),
        (LogFilter(job="create_backup"), True),
        (LogFilter(job="verify_backup"), False),
        (LogFilter(level="warning"), True),
        (LogFilter(level="error"), True),
        (LogFilter(level="critical"), False),
        (LogFilter(since=datetime(2026, 11, 24, 1, tzinfo=UTC)), True),
        (LogFilter(since=datetime(2026, 11, 24, 3, tzinfo=UTC)), False),
        (LogFilter(run="4f1c", level="critical"), False),
    ],
)
def test_filter_wants_what_was_chosen(wanted: LogFilter, is_wanted: bool) -> None:
    assert wanted.wants(EVENT) is is_wanted


def test_filter_by_run_leaves_out_events_without_one() -> None:
    assert not LogFilter(run="4").wants({"event": "worker.started"})


def test_format_event_is_one_line_with_the_traceback_below() -> None:
    first, *rest = format_event(EVENT, ZoneInfo("Asia/Riyadh")).plain.splitlines()
    assert first == "2026-11-24 05:00:00 error    run.finished create_backup 4f1c2a9b attempt=2 state=failed"
    assert rest == ["Traceback", "  File x"]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"at": "9999-12-31T23:59:59Z"}, "9999-12-31 23:59:59 info     x"),
        ({"at": "0001-01-01T00:00:00+05:00"}, "1-01-01 00:00:00 info     x"),
        ({"file": "a\ud800"}, "x file=a\\ud800"),
        ({"words": "\x1b[2J\x1b]0;title\x07"}, r"x words=\x1b[2J\x1b]0;title\x07"),
        ({"words": "one\n2026-11-24 05:00:00 info     backup.verified"}, r"one\n2026"),
        ({"words": "سجل\tكلب"}, r"سجل\tكلب"),
    ],
)
def test_format_event_keeps_odd_values_on_one_line(fields: dict[str, Any], shown: str) -> None:
    text = format_event({"event": "x", **fields}, ZoneInfo("Asia/Riyadh")).plain
    assert shown in text
    assert len(text.splitlines()) == 1
    text.encode()


def test_read_event_leaves_a_line_alone_that_is_nested_too_deep() -> None:
    assert read_event('{"event": "x", "v": ' + "[" * 100_000 + "]" * 100_000 + "}") is None


def test_follow_joins_a_character_that_is_written_in_two_pieces(tmp_path: Path) -> None:
    path, sign = tmp_path / "worker.log", "خ".encode()
    path.write_bytes(b"one\nn" + sign[:1])
    lines = follow_file(path)
    assert next(lines) == "one"
    later = Timer(0.3, append, (path, sign[1:] + b"\r\nend\n"))
    later.start()
    assert [next(lines), next(lines)] == ["nخ", "end"]
    later.join()
    lines.close()  # type: ignore[attr-defined]


def append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)


def test_follow_goes_on_after_more_lines_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text("one\ntw", encoding="utf-8")
    lines = follow_file(path)
    assert next(lines) == "one"
    with path.open("a", encoding="utf-8") as file:
        file.write("o\n")
    assert next(lines) == "two"
    path.rename(tmp_path / "worker.log.1")
    path.write_text("three\n", encoding="utf-8")
    assert next(lines) == "three"
    path.write_text("4\n", encoding="utf-8")
    assert next(lines) == "4"
    lines.close()  # type: ignore[attr-defined]
