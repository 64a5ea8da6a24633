from __future__ import annotations

import inspect
import re
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError

from k9ops import errors
from k9ops.cli import failures
from k9ops.cli.failures import explain_failure

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsInvalid("x"), 2),
        (errors.RunNotFound("x"), 2),
        (errors.ParamsInvalid("x"), 2),
        (errors.DatabaseInvalid("x"), 2),
        (errors.DatabaseUnavailable("x"), 3),
        (errors.BrokerUnavailable("x"), 3),
        (errors.VerificationFailed("x"), 1),
        (errors.DiskFull("x"), 1),
        (PermissionError(13, "Permission denied", "/backups"), 1),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_explain_failure_gives_the_documented_code(error: Exception, code: int) -> None:
    assert explain_failure(error).exit_code == code


def test_explain_failure_says_how_to_make_missing_tables() -> None:
    missing = psycopg.errors.UndefinedTable('relation "k9ops.run" does not exist\nLINE 1: SELECT')
    failure = explain_failure(ProgrammingError("SELECT", {}, missing))
    assert failure.exit_code == 2
    assert failure.message == (
        'PostgreSQL says: relation "k9ops.run" does not exist. Run `k9ops db upgrade` to make the tables of k9ops.'
    )


def test_explain_failure_shows_no_password() -> None:
    assert "secret" not in explain_failure(errors.ClientFailed("no postgresql://a:secret@h/b")).message
    assert "secret" not in explain_failure(ValueError("no redis://:secret@h")).message


def test_document_lists_every_exit_code() -> None:
    codes = {value for name, value in inspect.getmembers(failures) if name.startswith("EXIT_")}
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)}
    assert documented == codes
