from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.e2e.conftest import Command, wait_for
from tests.mail_server import running_mail_server

from k9ops.cli.services import plan_workers


@pytest.fixture
def k9ops(empty_k9ops: Command) -> Command:
    """The command with the sample unit."""
    empty_k9ops("db", "upgrade")
    empty_k9ops("db", "seed", "--generation", "B")
    return empty_k9ops


def test_list_and_show_tell_everything_from_the_definitions(k9ops: Command) -> None:
    reports = k9ops.json("report", "list")["reports"]
    assert len(reports) == 16
    assert all(report["missing_tables"] == [] for report in reports)
    shown = k9ops.json("report", "show", "attendance")
    assert [item["name"] for item in shown["parameters"]][:3] == ["from", "to", "project"]
    assert shown["sections"][0]["columns"][0]["header"] == {"ar": "التاريخ", "en": "Date"}
    text = k9ops("report", "show", "attendance_monthly").stdout
    assert "last_month" in text
    assert "كشف الحضور الشهري" in text
    assert "There is no report 'cats'" in k9ops("report", "show", "cats", code=2).stderr


def test_list_names_the_table_that_is_missing(k9ops: Command) -> None:
    with psycopg.connect(k9ops.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER TABLE public.incident RENAME TO incident_old")
    assert "lacks incident" in k9ops("report", "list").stdout
    refused = k9ops("report", "create", "incidents", "--here", code=1)
    assert "cannot be made here: the application's database lacks incident" in refused.stdout


def test_create_here_makes_a_file_that_get_copies_out_once(k9ops: Command) -> None:
    run = k9ops.json("report", "create", "dogs", "--format", "pdf", "--here")["run"]
    assert (run["state"], run["path"], run["evidence"]["rows"]) == ("succeeded", "inline", 60)
    (artefact,) = k9ops.json("report", "artefacts")["artefacts"]
    assert artefact["artefact_id"] == run["evidence"]["artefact_id"]
    assert artefact["requested_by"] == run["requested_by"]
    target = k9ops.folder / "dogs.pdf"
    k9ops("report", "get", artefact["artefact_id"][:18], "-o", str(target))
    assert target.read_bytes().startswith(b"%PDF-")
    assert (
        "there is such a file already"
        in k9ops("report", "get", artefact["artefact_id"], "-o", str(target), code=2).stderr
    )
    (Path(k9ops.environment["K9OPS_REPORTS_DIR"]) / f"{artefact['artefact_id']}.pdf").write_bytes(b"%PDF-")
    assert "not what was written" in k9ops("report", "get", artefact["artefact_id"], "-o", "other.pdf", code=1).stderr


def test_create_names_the_parameter_before_anything_is_recorded(k9ops: Command) -> None:
    assert "from = 'soon': it must be a date" in k9ops("report", "create", "training", "-p", "from=soon", code=2).stderr
    assert "format = 'doc'" in k9ops("report", "create", "training", "-f", "doc", code=2).stderr
    assert k9ops.json("runs", "list")["runs"] == []


def test_a_worker_of_the_queue_makes_what_was_asked_for(k9ops: Command) -> None:
    plan = next(plan for plan in plan_workers(["k9_tasks", "reports"]) if plan.name == "reports")
    asked = k9ops.json("report", "create", "projects", "-f", "pdf", "--skip-if-empty")
    again = k9ops.json("report", "create", "projects", "-f", "pdf", "--skip-if-empty")
    assert (asked["is_new"], again["is_new"], again["run_id"]) == (True, False, asked["run_id"])
    environment = {**k9ops.environment, **plan.variables}
    with subprocess.Popen(
        plan.command, env=environment, cwd=k9ops.folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as worker:
        try:
            run = k9ops.json("report", "create", "projects", "-f", "pdf", "--skip-if-empty", "--wait")["run"]
        finally:
            worker.terminate()
    assert (run["id"], run["state"], run["path"]) == (asked["run_id"], "succeeded", "worker")
    assert run["evidence"]["pages"] == 1


def test_subscription_is_made_shown_delivered_and_ended(k9ops: Command) -> None:
    delivered = k9ops.folder / "delivered"
    k9ops.environment["K9OPS_REPORT_DELIVERY_DIR"] = str(delivered)
    options = ("--cron", "0 6 * * 0", "--format", "csv", "--to", "folder:weekly")
    for changes, problem in (
        (("cats",), "There is no report 'cats'"),
        (("dogs", "--cron", "soon"), "cron = 'soon'"),
        (("dogs", "--to", "nobody"), "it must be an e-mail address, folder:NAME, or drive"),
        (("dogs", "--to", "a@example.org"), "set K9OPS_SMTP_URL"),
        (("dogs", "--param", "colour=red"), "has no parameter 'colour'"),
        (("dogs", "--name", "Weekly!"), "--name 'Weekly!'"),
    ):
        assert problem in k9ops("report", "subscribe", changes[0], *options, *changes[1:], code=2).stderr
    assert k9ops.json("report", "subscriptions")["subscriptions"] == []
    assert "first made at" in k9ops("report", "subscribe", "dogs", *options, "--name", "weekly").stdout
    (found,) = k9ops.json("report", "subscriptions")["subscriptions"]
    assert (found["report"], found["cron"], found["recipients"]) == ("dogs", "0 6 * * 0", ["folder:weekly"])
    assert "folder:weekly" in k9ops("report", "subscriptions").stdout
    assert "report:weekly" in k9ops("schedule", "list").stdout
    with k9ops.worker():
        k9ops("schedule", "run-now", "report:weekly")
        wait_for(lambda: list(delivered.glob("weekly/*.csv")))
        wait_for(lambda: k9ops.json("runs", "list", "--job", "deliver_report")["runs"][0]["state"] == "succeeded")
    k9ops("report", "unsubscribe", "weekly")
    assert "There is no subscription" in k9ops("report", "unsubscribe", "weekly", code=2).stderr


def add_viewer(folder: Path, script: str) -> dict[str, str]:
    """Put a program that shows files on a path, and return the variable."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("xdg-open", "open"):
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


def test_open_shows_a_copy_of_the_finished_report(k9ops: Command) -> None:
    seen = k9ops.folder / "seen"
    viewer = add_viewer(k9ops.folder, f'echo "$1" > {seen}')
    asked = ("report", "create", "projects", "--here", "--open")
    remark = k9ops(*asked, **viewer).stderr
    copy = Path(seen.read_text().strip())
    assert f"Opened {copy}" in remark.replace("\n", "")
    (artefact,) = k9ops.json("report", "artefacts")["artefacts"]
    kept = Path(k9ops.environment["K9OPS_REPORTS_DIR"]) / f"{artefact['artefact_id']}.pdf"
    assert copy.read_bytes() == kept.read_bytes()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400
    assert copy.parent != kept.parent
    copy.unlink()
    copy.parent.rmdir()
    seen.unlink()
    empty = ("-p", "from=2001-01-01", "-p", "to=2001-01-02", "--skip-if-empty")
    assert "nothing to open" in k9ops("report", "create", "incidents", "--here", "--open", *empty, **viewer).stderr
    assert not seen.exists()
    failed = k9ops(*asked, code=1, **add_viewer(k9ops.folder, "exit 3"))
    assert "The report is made, but" in failed.stderr
    assert "`k9ops report get" in failed.stderr


def test_open_without_a_viewer_is_refused_before_anything_is_recorded(k9ops: Command) -> None:
    nothing = k9ops.folder / "empty"
    nothing.mkdir()
    refused = k9ops("report", "create", "projects", "--here", "--open", code=2, PATH=str(nothing))
    assert "this machine has no program to show files with" in refused.stderr
    assert k9ops.json("runs", "list")["runs"] == []


def test_each_recipient_has_a_run_and_nobody_gets_a_second_copy(k9ops: Command, tmp_path: Path) -> None:
    refused = "away@example.org"
    with running_mail_server(tmp_path) as box:
        box.rcpt_answers[refused] = "550 unknown"
        k9ops.environment |= {"K9OPS_SMTP_URL": box.url, "K9OPS_SMTP_FROM": "k9@example.org"}
        to = [part for name in ("first@example.org", refused, "third@example.org") for part in ("--to", name)]
        with k9ops.worker():
            made = k9ops.json("report", "create", "dogs", "--format", "csv", *to, "--wait")["run"]
            runs = wait_for(lambda: find_ended_deliveries(k9ops))
            assert {run["params"]["recipient"]: run["state"] for run in runs} == {
                "first@example.org": "succeeded", refused: "failed", "third@example.org": "succeeded",
            }  # fmt: skip
            assert {run["parent_id"] for run in runs} == {made["id"]}
            box.rcpt_answers.clear()
            (failed,) = [run for run in runs if run["state"] == "failed"]
            k9ops("runs", "retry", failed["id"])
            wait_for(lambda: len(box.taken) == 3)
            wait_for(lambda: {run["state"] for run in find_ended_deliveries(k9ops)} == {"succeeded"})
        assert sorted(address for address, _ in box.taken) == [refused, "first@example.org", "third@example.org"]
    assert not [name for name in ("first@example.org", refused, "third@example.org") if name in k9ops.log("worker")]


def find_ended_deliveries(k9ops: Command) -> list[dict[str, Any]]:
    runs = k9ops.json("runs", "list", "--job", "deliver_report")["runs"]
    return runs if len(runs) == 3 and all(run["finished_at"] for run in runs) else []
