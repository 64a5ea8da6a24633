from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from k9ops import __version__
from k9ops.cli.main import app, run_command
from k9ops.config.settings import get_loaded_settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def _find_commands(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    children = getattr(command, "commands", None)
    if children is None:
        return {path: command}
    return {
        name: found for child in children for name, found in _find_commands(children[child], (*path, child)).items()
    }


COMMANDS = _find_commands(typer.main.get_command(app))


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    get_loaded_settings.cache_clear()
    yield
    get_loaded_settings.cache_clear()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_json(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert COMMANDS[path].help
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"


def test_document_has_an_example_of_every_command() -> None:
    examples = re.findall(r"^\| `k9ops ([^`]+)`", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {path for path in COMMANDS if any(tuple(line.split()[: len(path)]) == path for line in examples)}
    assert documented == set(COMMANDS)
    for line in examples:
        if line == "web":  # a group that does something by itself
            continue
        path = next(path for path in COMMANDS if tuple(line.split()[: len(path)]) == path)
        known = {option for parameter in COMMANDS[path].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"k9ops {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["runs", "show"], "Missing argument 'ID'"),
        (["runs", "list", "--limit", "0"], "it must be greater than or equal to 1"),
        (["runs", "list", "--state", "lost"], "'lost' is not one of 'queued'"),
        (["db", "seed", "--generation", "C"], "'C' is not one of 'A', 'B'"),
        (["check", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err
    assert "Try `k9ops" in output.err
    assert output.err.count("\n") == 1


def test_wrong_usage_is_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["runs", "show", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize("arguments", [[], ["runs"], ["backup"], ["db"], ["config"]])
def test_no_command_shows_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == 2
    output = capsys.readouterr()
    assert "Usage: k9ops" in output.out + output.err


def test_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("K9OPS_LEASE_S", "soon")
    assert run_command(["backup", "list"]) == 2
    assert "K9OPS_LEASE_S = 'soon': must be a valid integer" in capsys.readouterr().err


def test_fault_in_k9ops_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(folder: Path) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("k9ops.cli.backup.list_backups", fail)
    assert run_command(["backup", "list"]) == 70
    output = capsys.readouterr()
    assert "This is a fault in k9ops: ZeroDivisionError: by zero." in output.err
    assert "Traceback" not in output.err


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("k9ops.cli.backup.list_backups", interrupt)
    assert run_command(["backup", "list"]) == 130
    assert capsys.readouterr().err == "Error: Interrupted.\n"


def test_ctrl_c_that_a_library_answered_with_an_error_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(folder: Path) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("cannot be closed now")

    monkeypatch.setattr("k9ops.cli.backup.list_backups", interrupt)
    assert run_command(["backup", "list"]) == 130


_INTERRUPTED_FINALIZER = """
import os, signal, threading, weakref
from k9ops.cli.main import catch_signals

class Thing:
    pass

catch_signals()
thing = Thing()
reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
try:
    del thing
    threading.Event().wait(30)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_interrupt_that_hits_a_finalizer_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", _INTERRUPTED_FINALIZER], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
