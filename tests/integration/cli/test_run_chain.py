from __future__ import annotations

import json
import uuid

import pytest
from sqlalchemy import Engine

from k9ops.cli.main import run_command
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import record_run


def test_runs_show_has_the_whole_chain_and_says_where_the_run_is_in_it(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(job: str, parent_id: uuid.UUID | None = None) -> uuid.UUID:
        new = NewRun(job=job, queue="tests", parent_id=parent_id)
        record_run(engine, new, is_sent=True)
        return new.id

    def show(run_id: uuid.UUID, *options: str) -> str:
        assert run_command(["runs", "show", str(run_id), *options]) == 0
        return capsys.readouterr().out

    first = make("create")
    verify = make("verify", first)
    keep = make("keep", verify)
    upload = make("upload", first)
    alone = make("alone")
    found = json.loads(show(upload, "--json"))
    assert [(item["level"], item["id"], item["job"], item["state"]) for item in found["chain"]] == [
        (0, str(first), "create", "queued"),
        (1, str(verify), "verify", "queued"),
        (2, str(keep), "keep", "queued"),
        (1, str(upload), "upload", "queued"),
    ]
    assert (found["parent"]["id"], found["follow_ups"]) == (str(first), [])
    tree = show(keep).partition("\nchain\n")[2].splitlines()[:4]
    assert [line.partition("  queued")[0] for line in tree] == [
        f"  create {str(first)[:8]}",
        f"    verify {str(verify)[:8]}",
        f"      keep {str(keep)[:8]}",
        f"    upload {str(upload)[:8]}",
    ]
    assert ["(this run)" in line for line in tree] == [False, False, True, False]
    assert "chain" not in show(alone)
