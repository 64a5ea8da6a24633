from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from tests.integration.web.conftest import Browser
from tests.web_fixtures import open_incident

from k9ops.alerts.store import read_mutes
from k9ops.web.visit import Desk

Enter = Callable[[str], Browser]


def test_alerts_page_shows_what_is_wrong_and_what_is_over(desk: Desk, enter: Enter) -> None:
    browser = enter("viewer")
    assert "لا توجد مشكلة بحسب ما يراه المراقب." in browser.client.get("/alerts").text
    open_incident(desk, "run_failed", "create_backup", "create_backup failed: <b>no room</b>")
    open_incident(
        desk,
        "scheduler_silent",
        "",
        "No scheduler has decided anything since 2026-11-24 02:00: nothing starts by itself.",
    )
    open_incident(desk, "drive_full", "", "Only 1.2 of 15 GB are free on Google Drive.", is_over=True)
    page = browser.client.get("/alerts").text
    now, _, before = page.partition("انتهت في الأيام السبعة الأخيرة")
    assert "لم يعمل أي مجدول منذ" in now
    assert "فشلت عملية" in now
    assert "&lt;b&gt;no room" in now
    assert "المتاح على Google Drive" in before
    assert "details" not in now.partition("<h1>")[2], "a viewer mutes nothing"


def test_overview_says_what_the_watchman_reports(desk: Desk, enter: Enter) -> None:
    browser = enter("viewer")
    browser.post("/language", language="en")
    assert '/alerts">The watchman' not in browser.client.get("/").text
    open_incident(desk, "drive_full", "", "Only 1.2 of 15 GB are free on Google Drive.")
    page = browser.client.get("/").text
    assert '/alerts">The watchman reports what is wrong: 1.</a>' in page
    assert "No: something needs a person." in page


def test_rule_is_muted_and_heard_again(desk: Desk, enter: Enter) -> None:
    open_incident(desk, "run_failed", "create_backup", "create_backup failed: no room")
    browser = enter("operator")
    path, form = "/alerts/run_failed/mute", {"subject": "create_backup", "hours": "8"}
    assert browser.post(path, **form).status_code == 400
    assert browser.post(path, **form | {"hours": "1e9", "reason": "r"}).status_code == 400
    assert browser.post("/alerts/nothing/mute", **form, reason="r").status_code == 400
    assert browser.post(path, **form, reason="the disk is on its way").status_code == 303
    [mute] = find_mutes(desk)
    assert (mute.rule, mute.subject, mute.muted_by, mute.reason) == (
        "run_failed", "create_backup", "operator", "the disk is on its way",
    )  # fmt: skip
    assert timedelta(hours=7) < mute.until - datetime.now(UTC) <= timedelta(hours=8)
    assert "the disk is on its way" in browser.client.get("/alerts").text
    assert browser.post("/alerts/run_failed/unmute", subject="create_backup", reason="it is in").status_code == 303
    assert find_mutes(desk) == []
    statement = text("SELECT actor, action, origin, target_id FROM k9ops.audit_event ORDER BY id DESC LIMIT 2")
    with desk.engine.begin() as connection:
        assert [tuple(row) for row in connection.execute(statement)] == [
            ("operator", "unmute", "web from testclient", "run_failed"),
            ("operator", "mute", "web from testclient", "run_failed"),
        ]


def find_mutes(desk: Desk):  # type: ignore[no-untyped-def]
    with desk.engine.begin() as connection:
        return read_mutes(connection, now=datetime.now(UTC))
