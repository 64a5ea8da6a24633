"""The watchman as a process, and what the operator sees of alerts and of the audit."""

from __future__ import annotations

import os
import pwd
import signal

import psycopg
import pytest
from tests.e2e.conftest import Command, wait_for
from tests.integration.alerts.conftest import Receiver

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def receiver():  # type: ignore[no-untyped-def]
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_watch_tells_what_is_wrong_and_that_it_is_over(k9ops: Command, receiver: Receiver, database_url: str) -> None:
    variables = {"K9OPS_WATCH_INTERVAL_S": "1", "K9OPS_ALERT_WEBHOOK_URL": f"{receiver.url}/webhook/secret"}
    k9ops.environment |= variables
    assert k9ops("alerts", "list").stdout == "Nothing is wrong.\n"
    k9ops("run", "verify_backup", "--param", "backup_id=20260101T000000Z-00000000", code=1)
    with k9ops.started("watch", "--json") as process:
        wait_for(lambda: receiver.at("webhook"))
        shown = k9ops.json("alerts", "list", code=1)
        assert [item["rule"] for item in shown["incidents"]] == ["run_failed"]
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DELETE FROM k9ops.run")
        wait_for(lambda: len(receiver.at("webhook")) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    kinds = [(item["kind"], item["rule"], item["subject"]) for item in receiver.at("webhook")]
    assert kinds == [("alert", "run_failed", "verify_backup"), ("recovery", "run_failed", "verify_backup")]
    done = k9ops("alerts", "test", K9OPS_ALERT_SLACK_URL="http://127.0.0.1:1/secret", code=1)
    assert "webhook  ok" in done.stdout
    assert "No answer: ConnectionError." in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_changes_are_audited_with_who_where_and_why_and_the_chain_is_proven(k9ops: Command, database_url: str) -> None:
    k9ops("schedule", "pause", "create_backup", "--reason", "the server moves")
    run = k9ops.json("enqueue", "canary", "--reason", "a look")["run"]
    k9ops("runs", "cancel", run["id"], "--reason", "enough")
    k9ops("alerts", "mute", "run_failed", "--hours", "2", "--reason", "the server moves")
    assert "There is no rule 'nonsense'" in k9ops("alerts", "mute", "nonsense", code=2).stderr
    events = k9ops.json("audit", "list")["events"]
    assert [(item["action"], item["target_type"], item["reason"]) for item in events] == [
        ("mute", "alert_rule", "the server moves"),
        ("cancel", "run", "enough"),
        ("request", "run", "a look"),
        ("pause", "schedule", "the server moves"),
    ]
    assert {item["actor"] for item in events} == {ME}
    assert {item["origin"] for item in events} == {f"cli on {os.uname().nodename}"}
    assert (events[1]["before"]["state"], events[1]["after"]["state"]) == ("queued", "cancelled")
    assert "All 4 audit entries are as they were written." in k9ops("audit", "verify").stdout.replace(" Head", "\nHead")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE k9ops.audit_event SET reason = 'x' WHERE id = 2")
    document = k9ops.json("audit", "verify", code=1)
    assert (document["is_whole"], document["problem"]["entry_id"], document["problem"]["kind"]) == (False, 2, "changed")
