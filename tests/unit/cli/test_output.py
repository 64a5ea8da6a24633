from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from rich.text import Text

from k9ops.cli.output import (
    format_bytes,
    format_duration,
    format_moment,
    print_error,
    print_fields,
    print_json,
    print_table,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_210_000, "3.2 MB"), (5e9, "5.0 GB"), (2.5e12, "2.5 TB")],
)
def test_format_bytes_chooses_the_unit(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("duration_s", "text"), [(None, "-"), (0.04, "0.0 s"), (59.9, "59.9 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_format_duration_chooses_the_unit(duration_s: float | None, text: str) -> None:
    assert format_duration(duration_s) == text


def test_format_moment_is_in_the_units_time_zone() -> None:
    assert format_moment(datetime(2026, 11, 24, 22, 30, tzinfo=UTC), ZoneInfo("Asia/Riyadh")) == "2026-11-25 01:30:00"
    assert format_moment(None, ZoneInfo("Asia/Riyadh")) == "-"


def test_print_json_keeps_arabic_readable(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "سعد"})
    output = capsys.readouterr().out
    assert "سعد" in output
    assert json.loads(output) == {"name": "سعد"}


def test_print_error_writes_a_document_for_a_program_only(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("It [broke].", kind="Broken", as_json=False)
    assert capsys.readouterr() == ("", "Error: It [broke].\n")
    print_error("It [broke].", kind="Broken", as_json=True)
    output = capsys.readouterr()
    assert json.loads(output.out) == {"error": {"kind": "Broken", "message": "It [broke]."}}
    assert output.err == "Error: It [broke].\n"


def test_print_table_takes_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", ">rows"), [["[bold]x[/bold]", "1"]], empty="Nothing.")
    assert "[bold]x[/bold]" in capsys.readouterr().out
    print_table(("name",), [], empty="Nothing.")
    assert capsys.readouterr().out == "Nothing.\n"


def test_print_fields_puts_further_lines_below_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"a": "1", "left out": None, "long": Text("2\n3"), "empty": ""})
    assert capsys.readouterr().out == "a      1\nlong   2\n       3\nempty\n"
