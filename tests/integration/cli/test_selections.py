from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine

from k9ops.cli.main import run_command
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run


def test_runs_that_have_something_in_common_are_changed_together(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [NewRun(job="canary", queue="k9_tasks") for _ in range(2)]
    for run in runs:
        record_run(engine, run, is_sent=True)

    def call(*arguments: str, code: int = 0) -> str:
        assert run_command(["runs", *arguments]) == code
        output = capsys.readouterr()
        return output.err if code else output.out

    assert "--yes" in call("discard", "--state", "queued", code=2)
    assert "2 runs." in call("discard", "--job", "canary", "--state", "queued", "--dry-run")
    assert get_run(engine, runs[0].id).state == "queued"
    found = json.loads(call("discard", "--state", "queued", "--yes", "--reason", "too many", "--json"))
    assert (found["action"], found["filter"], found["total"]) == ("discard", {"state": "queued"}, 2)
    assert set(found["done"]) == {str(run.id) for run in runs}
    assert get_run(engine, runs[0].id).state == "cancelled"
    assert "2 of 2 runs are queued again" in call("retry", "--state", "cancelled", "--since", "1h", "--yes")
    assert "Name either one run" in call("retry", code=2)
    assert "1 of 1 runs are discarded" in call("discard", str(runs[0].id)[:8])
    assert "--until 'x'" in call("retry", "--until", "x", code=2)
