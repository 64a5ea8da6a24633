"""What arrives when a channel is down, when two watchmen meet, and when PostgreSQL is away."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog.testing
from pydantic import SecretStr
from sqlalchemy import text
from tests.mail_server import running_mail_server

from k9ops.alerts.channels import build_channels
from k9ops.alerts.outage import tell_outage, tell_return
from k9ops.alerts.pings import find_pings, find_settled_moment
from k9ops.alerts.rounds import go_round
from k9ops.errors import AlertUndelivered

from .conftest import NOON, Stage

FAILED = "alert run_failed:create_report"


def fail(stage: Stage) -> None:
    stage.ended("create_report", state="failed", message="The disk is full.")


def test_message_says_what_where_and_since_when(stage: Stage) -> None:
    fail(stage)
    stage.wait(minutes=6)
    (document,) = stage.receiver.at("webhook")
    assert document["text"] == "create_report failed: The disk is full."
    assert (document["rule"], document["subject"], document["unit"]) == (
        "run_failed",
        "create_report",
        "Police Dog Unit",
    )
    (telegram,) = stage.receiver.at("bot12:secret")
    assert telegram == {
        "chat_id": "-100",
        "text": "k9ops: something is wrong (Police Dog Unit)\ncreate_report failed: The disk is full.",
    }


def test_channel_that_was_down_gets_its_messages_later_once_and_the_others_at_once(stage: Stage) -> None:
    stage.receiver.status["webhook"] = 503
    fail(stage)
    stage.wait(minutes=12)
    assert (stage.told("webhook"), stage.told("slack")) == ([], ["alert"])
    stage.receiver.status["webhook"] = 200
    stage.wait(minutes=30)
    assert (stage.told("webhook"), stage.told("slack")) == ([FAILED], ["alert"])


def test_message_that_never_arrives_is_given_up_after_a_day_and_its_problem_names_no_secret(stage: Stage) -> None:
    stage.receiver.status["bot12:secret"] = 401
    fail(stage)
    with structlog.testing.capture_logs() as logs:
        stage.wait(minutes=6)
        stage.sleep(minutes=25 * 60)
        stage.round()
    with stage.engine.begin() as connection:
        row = connection.execute(
            text("SELECT problem, given_up_at FROM k9ops.alert_message WHERE channel = 'telegram' ORDER BY id LIMIT 1")
        ).one()
    assert (row.problem, row.given_up_at) == ("The answer was 401.", stage.now)
    assert "12:secret" not in json.dumps(logs, default=str)


def test_address_that_does_not_answer_is_a_problem_without_the_address(stage: Stage) -> None:
    silent = stage.settings.model_copy(update={"alert_slack_url": SecretStr("http://127.0.0.1:1/T0/secret")})
    with pytest.raises(AlertUndelivered) as raised:
        build_channels(silent, stage.engine)["slack"]({"title": "a", "unit": "b", "text": "c"}, "key")
    assert raised.value.user_message == "No answer: ConnectionError."
    assert raised.value.__cause__ is None


def test_round_that_was_gone_a_moment_ago_is_not_gone_again(stage: Stage) -> None:
    fail(stage)
    stage.sleep(minutes=1)
    assert stage.round()
    assert not stage.round()
    assert stage.told("webhook") == [FAILED]


def test_one_of_two_watchmen_goes_the_round(stage: Stage) -> None:
    fail(stage)
    stage.sleep(minutes=1)
    with stage.engine.connect() as other, other.begin():
        other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x6B396F70737761})
        assert not stage.round()
        assert stage.told("webhook") == []
    assert stage.round()
    assert stage.told("webhook") == [FAILED]


def test_round_that_dies_before_its_commit_tells_nothing_and_the_next_tells_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(stage)
    stage.sleep(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr("k9ops.alerts.rounds.prune_messages", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.round()
    assert stage.told("webhook") == []
    assert stage.round()
    assert stage.told("webhook") == [FAILED]


def test_clock_that_was_set_back_stops_nobody(stage: Stage) -> None:
    stage.now = NOON - timedelta(hours=3)
    assert stage.round()


def test_pings_wait_for_runs_whose_end_is_not_yet_to_be_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k9ops.alerts.pings._MARGIN_S", 0.0)
    url = stage.receiver.url
    stage.settings = stage.settings.model_copy(update={"ping_urls": SecretStr(f"create_backup={url}/ping/backup")})
    ahead = datetime.now(UTC) + timedelta(hours=1)
    with stage.engine.begin() as ending, stage.engine.begin() as reading:
        begun_at = ending.scalar(text("SELECT now()"))
        assert find_settled_moment(reading, now=NOON) == NOON
        assert find_settled_moment(reading, now=ahead) > begun_at
        ending.execute(text("CREATE TABLE public.of_the_application (id int)"))
        assert find_settled_moment(reading, now=ahead) > begun_at
        ending.execute(text("UPDATE k9ops.run SET message = message"))
        assert find_settled_moment(reading, now=ahead) < begun_at
    stage.now = ahead
    stage.round()
    with stage.engine.begin() as connection:
        assert connection.scalar(text("SELECT pinged_until < now() FROM k9ops.watchman"))


def test_ping_of_a_start_is_not_lost_when_the_run_ends_meanwhile(stage: Stage) -> None:
    begun = stage.now + timedelta(minutes=1)
    stage.ended("create_backup", begun + timedelta(seconds=4), duration_s=4)
    stage.settings = stage.settings.model_copy(update={"ping_urls": SecretStr("create_backup=http://localhost/")})
    signals = []
    with stage.engine.begin() as connection:
        for since_s, until_s in ((-9, 2), (2, 9)):
            since, until = begun + timedelta(seconds=since_s), begun + timedelta(seconds=until_s)
            signals.append([ping["signal"] for ping in find_pings(connection, stage.settings, since=since, now=until)])
    assert signals == [["start"], ["success"]]


def test_pings_tell_start_success_and_failure_of_each_run_and_the_watchmans_heart(stage: Stage) -> None:
    url = stage.receiver.url
    pairs = f"create_backup={url}/ping/backup, verify_backup={url}/ping/verify, watchman={url}/ping/heart"
    stage.settings = stage.settings.model_copy(update={"ping_urls": SecretStr(pairs)})
    stage.sleep(minutes=5)
    stage.ended("create_backup", evidence={"size_bytes": 1_000_000}, message="Made.")
    stage.ended("verify_backup", state="failed", message="It differs.")
    stage.ended("create_report")
    stage.sql("UPDATE k9ops.run SET traceback = repeat('x', 20000) || 'the end' WHERE state = 'failed'")
    stage.round()
    pings = [(path.partition("?")[0], body) for path, body in stage.receiver.received if path.startswith("/ping/")]
    assert [path for path, _ in pings if "backup" in path] == ["/ping/backup/start", "/ping/backup"]
    assert [path for path, _ in pings if "verify" in path] == ["/ping/verify/start", "/ping/verify/fail"]
    bodies = dict(pings)
    assert bodies["/ping/backup"] == "Made."
    assert (len(bodies["/ping/verify/fail"]), bodies["/ping/verify/fail"][-7:]) == (8000, "the end")
    assert [path for path, _ in pings if "heart" in path] == ["/ping/heart"]
    stage.receiver.received.clear()
    stage.wait(minutes=6)
    assert [path for path, _ in stage.receiver.received if "heart" not in path] == []


def test_outage_of_postgresql_is_told_once_by_each_machine_and_its_end_too(stage: Stage) -> None:
    channels = build_channels(stage.settings, stage.engine)
    told = []
    for minutes in (0, 2, 6, 7, 8):
        now = NOON + timedelta(minutes=minutes)
        # Two processes of the machine.
        told += [tell_outage(stage.settings, channels, "PostgreSQL is not available.", now=now) for _ in range(2)]
    assert told == [False, False, False, False, True, False, False, False, False, False]
    assert stage.told("webhook") == ["alert database_away:"]
    ends = [tell_return(stage.settings, channels, now=NOON + timedelta(minutes=9)) for _ in range(2)]
    assert ends == [True, False]
    assert stage.told("webhook") == ["alert database_away:", "recovery database_away:"]
    assert stage.told("slack") == ["alert", "recovery"]
    assert stage.told("notification") == []


def test_outage_is_noted_among_temporary_files_where_the_folder_takes_none(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    closed = tmp_path / "no folder"
    closed.write_text("")
    settings = stage.settings.model_copy(update={"state_dir": closed / "state"})
    channels = build_channels(settings, stage.engine)
    told = [tell_outage(settings, channels, "away", now=NOON + timedelta(minutes=minutes)) for minutes in (0, 6, 7)]
    assert told == [False, True, False]
    assert tell_return(settings, channels, now=NOON + timedelta(minutes=8))
    assert stage.told("webhook") == ["alert database_away:", "recovery database_away:"]


def test_outage_that_ends_within_the_grace_is_not_told(stage: Stage) -> None:
    channels = build_channels(stage.settings, stage.engine)
    for minutes in (0, 4):
        assert not tell_outage(stage.settings, channels, "away", now=NOON + timedelta(minutes=minutes))
    assert not tell_return(stage.settings, channels, now=NOON + timedelta(minutes=5))
    assert not tell_outage(stage.settings, channels, "away", now=NOON + timedelta(minutes=6)), "this is another outage"
    tell_return(stage.settings, channels, now=NOON + timedelta(minutes=7))
    assert stage.told("webhook") == []


def test_watchman_without_channels_records_the_incident_all_the_same(stage: Stage) -> None:
    fail(stage)
    stage.sleep(minutes=1)
    quiet = stage.settings.model_copy(
        update={
            "alert_webhook_url": SecretStr(""),
            "alert_slack_url": SecretStr(""),
            "alert_telegram_token": SecretStr(""),
            "alert_notify_admins": False,
        }
    )
    assert go_round(quiet, stage.engine, holder="test", now=stage.now)
    with stage.engine.begin() as connection:
        assert connection.execute(text("SELECT rule FROM k9ops.incident WHERE closed_at IS NULL")).all() == [
            ("run_failed",)
        ]


def test_mail_goes_to_each_address_and_one_that_is_refused_holds_up_no_other(stage: Stage, tmp_path: Path) -> None:
    with running_mail_server(tmp_path) as box:
        box.rcpt_answers = {"away@example.org": "450 later"}
        changes = {
            "smtp_url": SecretStr(box.url),
            "smtp_from": "k9@example.org",
            "alert_mail_to": "away@example.org, chief@example.org",
        }
        stage.settings = stage.settings.model_copy(update=changes)
        fail(stage)
        with structlog.testing.capture_logs() as logs:
            stage.wait(minutes=12)
        assert [address for address, _ in box.taken] == ["chief@example.org"]
        box.rcpt_answers = {}
        stage.wait(minutes=30)
    assert [address for address, _ in box.taken] == ["chief@example.org", "away@example.org"]
    message = box.taken[0][1]
    body = message.get_body()
    assert body is not None
    assert "create_report failed: The disk is full." in body.get_content()
    assert "تنبيه من خدمة k9ops" in message["Subject"]
    assert "example.org" not in json.dumps(logs, default=str)
