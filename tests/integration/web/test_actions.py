from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from tests.integration.web.conftest import Browser
from tests.web_fixtures import PASSWORD, end_run, fail, make_run

from k9ops.broker.jobs import hide_private_params
from k9ops.cli.run_view import print_run, run_document
from k9ops.ledger.queue_history import sample_queues
from k9ops.ledger.queues import pause_queue, read_pauses
from k9ops.ledger.requests import get_run
from k9ops.ledger.slots import read_schedule_states
from k9ops.web.accounts import add_account, remove_account
from k9ops.web.app import PAGES
from k9ops.web.visit import Desk

Enter = Callable[[str], Browser]
XSS = "<script>alert('كلب')</script>\"'><img src=x onerror=alert(1)>"
RANKS = ("viewer", "operator", "admin")


def audited(desk: Desk) -> list[tuple[str, str, str | None, str | None]]:
    statement = text("SELECT actor, action, origin, reason FROM k9ops.audit_event ORDER BY id DESC LIMIT 3")
    with desk.engine.begin() as connection:
        return [tuple(row) for row in connection.execute(statement)]


@pytest.mark.parametrize("name", RANKS)
def test_role_decides_about_every_page(desk: Desk, enter: Enter, name: str) -> None:
    browser = enter(name)
    token = browser.token()
    for path, method, _, role in PAGES:
        if role is None or path in ("/logout", "/language"):
            continue
        real = path.replace("{name}", "canary").replace("{key}", "dogs").replace("{run_id}", str(uuid.uuid4()))
        real = re.sub(r"\{\w+\}", "nothing", real)
        answer = browser.client.request(method, real, data={"csrf": token} if method == "POST" else None)
        is_allowed = RANKS.index(name) >= RANKS.index(role)
        assert (answer.status_code != 403) == is_allowed, (path, method, answer.status_code)
        assert answer.status_code < 500


def test_no_viewer_changes_anything_and_only_admins_download() -> None:
    changes = {path: role for path, method, _, role in PAGES if method == "POST" and role is not None}
    assert {path for path, role in changes.items() if role == "viewer"} == {"/logout", "/language"}
    assert {path for path, role in changes.items() if role == "admin"} == {"/backups/{backup_id}/download"}
    assert {
        "/queues/{name}/pause", "/queues/{name}/resume", "/runs/{run_id}/discard", "/selections/{action}",
        "/backups/{backup_id}/upload",
    } <= {path for path, role in changes.items() if role == "operator"}  # fmt: skip


def test_every_change_needs_the_token_of_this_session(desk: Desk, enter: Enter) -> None:
    browser, other = enter("admin"), enter("admin")
    for path, method, _, role in PAGES:
        if method != "POST" or role is None:
            continue
        real = re.sub(r"\{\w+\}", "canary", path)
        for token in ("", "x", other.token()):
            answer = browser.client.post(real, data={"csrf": token, "reason": "r", "language": "en"})
            assert answer.status_code == 403, path
        headers = {"Sec-Fetch-Site": "cross-site"}
        answer = browser.client.post(real, data={"csrf": browser.token(), "reason": "r"}, headers=headers)
        assert answer.status_code == 403, path
        headers = {"Origin": "https://evil.example"}
        answer = browser.client.post(real, data={"csrf": browser.token(), "reason": "r"}, headers=headers)
        assert answer.status_code == 403, path
    assert read_schedule_states(desk.engine).get("canary") is None


def test_retry_and_cancel_are_done_once_with_their_reason(desk: Desk, enter: Enter) -> None:
    browser, run = enter("operator"), make_run(desk)
    fail(desk, run)
    assert browser.post(f"/runs/{run.id}/retry").status_code == 400
    assert get_run(desk.engine, run.id).state == "failed"
    assert browser.post(f"/runs/{run.id}/retry", reason="الخادم عاد").status_code == 303
    assert get_run(desk.engine, run.id).state == "queued"
    assert audited(desk)[0] == ("operator", "retry", "web from testclient", "الخادم عاد")
    assert browser.post(f"/runs/{run.id}/retry", reason="again").status_code == 400
    assert browser.post(f"/runs/{run.id}/cancel", reason="no need").status_code == 303
    assert get_run(desk.engine, run.id).state == "cancelled"
    assert audited(desk)[0][1::2] == ("cancel", "no need")


def test_runs_that_fit_are_shown_and_then_retried_or_discarded(desk: Desk, enter: Enter) -> None:
    browser = enter("operator")
    browser.post("/language", language="en")
    runs = [make_run(desk, requested_by=XSS) for _ in range(3)]
    for run in runs:
        fail(desk, run, f"Disk full {XSS}")
    page = browser.client.get("/selections/discard", params={"job": "canary", "words": f"disk full {XSS}"}).text
    assert "3 runs fit." in page
    assert "<script>alert" not in page
    assert "<img" not in page
    form = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page)}
    assert browser.client.post("/selections/discard", data=form).status_code == 400
    browser.post(f"/runs/{runs[0].id}/retry", reason="one")
    answer = browser.client.post("/selections/discard", data=form | {"reason": XSS})
    assert "2 of 3 runs are discarded." in answer.text
    assert "<script>alert" not in answer.text
    assert [get_run(desk.engine, run.id).acknowledged_at is None for run in runs] == [True, False, False]
    assert audited(desk)[0] == ("operator", "discard", "web from testclient", XSS)
    assert "<script>alert" not in enter("admin").client.get("/audit").text
    assert browser.post(f"/runs/{runs[0].id}/discard", reason="r").status_code == 303
    assert get_run(desk.engine, runs[0].id).state == "cancelled"
    assert browser.post(f"/runs/{runs[0].id}/discard", reason="r").status_code == 400
    for odd in ({"ids": "%%%"}, {"ids": "abc"}, {"seen_at": "yesterday"}, {"seen_at": "2026-11-26"}, {"since": "x"}):
        assert browser.client.post("/selections/retry", data=form | {"reason": "r"} | odd).status_code == 400, odd
    assert browser.client.get("/selections/delete").status_code == 404
    assert "1 runs fit." in browser.client.get("/selections/retry?state=cancelled").text


def test_schedule_is_paused_resumed_and_run_now(desk: Desk, enter: Enter) -> None:
    browser = enter("operator")
    assert browser.post("/schedules/canary/pause", reason="works").status_code == 303
    assert read_schedule_states(desk.engine)["canary"].paused_by == "operator"
    assert audited(desk)[0][1::2] == ("pause", "works")
    assert browser.post("/schedules/canary/resume", reason="done").status_code == 303
    assert read_schedule_states(desk.engine)["canary"].paused_at is None
    answer = browser.post("/schedules/canary/run", reason="to see")
    run = get_run(desk.engine, uuid.UUID(answer.headers["location"].split("/")[2].split("?")[0]))
    assert (run.job, run.requested_by, run.trigger) == ("canary", "operator", "web")
    assert audited(desk)[0][3] == "to see"
    assert browser.post("/schedules/nothing/run", reason="r").status_code == 404


def test_queue_is_paused_and_resumed(desk: Desk, enter: Enter) -> None:
    browser = enter("operator")
    assert browser.post("/queues/reports/pause").status_code == 400
    assert browser.post("/queues/reports/pause", reason=f"moved {XSS}").status_code == 303
    assert read_pauses(desk.engine)["reports"].paused_by == "operator"
    assert audited(desk)[0] == ("operator", "pause", "web from testclient", f"moved {XSS}")
    page = browser.client.get("/queues").text
    assert "moved &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert '/queues/reports/resume"' in page
    assert browser.post("/queues/reports/resume", reason="it is there").status_code == 303
    assert read_pauses(desk.engine) == {}
    assert audited(desk)[0][1::2] == ("resume", "it is there")
    assert browser.post("/queues/nothing/pause", reason="r").status_code == 404


def test_queues_have_the_history_of_their_last_day(desk: Desk, enter: Enter) -> None:
    browser, run = enter("viewer"), make_run(desk)
    browser.post("/language", language="en")
    assert "<svg" not in browser.client.get("/queues").text
    fail(desk, run)
    assert sample_queues(desk.engine, now=datetime.now(UTC))
    page = browser.client.get("/queues").text
    assert page.count("<svg") == 3
    assert page.count("<rect") == 1
    assert "style=" not in page


def test_backup_and_report_are_asked_for(desk: Desk, enter: Enter) -> None:
    browser = enter("operator")
    answer = browser.post("/backups", reason="before the update")
    run = get_run(desk.engine, uuid.UUID(answer.headers["location"].split("/")[2].split("?")[0]))
    assert (run.job, run.params) == ("create_backup", {"only_if_enabled": False})
    answer = browser.post("/reports/new/dogs", format="xlsx", language="en")
    run = get_run(desk.engine, uuid.UUID(answer.headers["location"].split("/")[2].split("?")[0]))
    assert run.params == {"report": "dogs", "params": {"language": "en"}, "format": "xlsx"}
    assert browser.post("/reports/new/dogs", language="xx").status_code == 400
    assert browser.post("/reports/new/dogs", format="exe").status_code == 400


def test_stored_text_is_never_markup(desk: Desk, enter: Enter) -> None:
    browser = enter("admin")
    run = make_run(desk, params={XSS: XSS}, requested_by=XSS)
    fail(desk, run, XSS)
    child = make_run(desk, parent_id=run.id, requested_by=XSS)
    browser.post(f"/runs/{child.id}/cancel", reason=XSS)
    with desk.engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE k9ops.run SET evidence = CAST(:e AS jsonb), history = CAST(:h AS jsonb), log = CAST(:l AS jsonb)
                WHERE id = :id
            """),
            {
                "e": json.dumps({XSS: [XSS], "artefact_id": XSS}),
                "l": json.dumps([{"event": XSS, "at": XSS, "level": XSS, "attempt": XSS, XSS: XSS}]),
                "h": json.dumps([{"outcome": XSS, "message": XSS, "worker": XSS}]),
                "id": run.id,
            },
        )
        connection.execute(
            text("""
                INSERT INTO k9ops.process (name, kind, host, pid, version, queues, threads, silent_after_s)
                VALUES (:x, 'worker', :x, 1, :x, ARRAY[:x], 1, 600)
            """),
            {"x": XSS},
        )
    folder = desk.settings.backup_dir
    folder.mkdir(parents=True, exist_ok=True)
    for path in (f"/runs/{run.id}", f"/runs/{child.id}", "/runs", "/queues", "/audit", "/", "/schedules", "/backups"):
        page = browser.client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
    assert (
        "&lt;script&gt;alert(&#39;كلب&#39;)&lt;/script&gt;&#34;&#39;&gt;" in browser.client.get(f"/runs/{run.id}").text
    )
    page = browser.client.get("/runs", params={"words": XSS, "job": XSS, "state": XSS, "period": XSS})
    assert "<script>alert" not in page.text
    assert "<img" not in browser.client.get("/audit", params={"actor": XSS, "action": XSS}).text


def test_paths_stay_where_they_belong(enter: Enter) -> None:
    browser = enter("admin")
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/backups/..%2f..%2fetc%2fpasswd",
        "/backups/20261124T020000Z-0000000g",
        "/reports/..%2f..%2fetc%2fpasswd",
        "/reports/%00",
        "/runs/..%2f",
        "/runs/%00",
        "/live/..%2f_overview",
    ):
        assert browser.client.get(path).status_code == 404, path


def test_odd_queries_are_no_fault(enter: Enter) -> None:
    browser = enter("admin")
    for query in ("before=x", "before=2026_x", "state=%00", "job=%27", "words=%00%25_", "period=x"):
        assert browser.client.get(f"/runs?{query}").status_code in (200, 400), query
    assert browser.client.get("/audit?before=9999999999999999999999&actor=%00").status_code == 200


def test_large_form_is_refused(desk: Desk, enter: Enter) -> None:
    assert enter("admin").post("/backups", reason="x" * 100_000).status_code == 413


def test_private_parameters_are_dots(desk: Desk) -> None:
    run = make_run(desk, params={"token": "s3cret", "n": 1})
    actor = desk.broker.get_actor("canary")
    actor.options["private_params"] = ("token",)
    try:
        assert hide_private_params(desk.broker, run).params == {"token": "•••", "n": 1}
    finally:
        del actor.options["private_params"]


def test_pages_of_runs_are_complete_and_disjoint(desk: Desk, enter: Enter) -> None:
    with desk.engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at)
                SELECT gen_random_uuid(), 'canary', 'k9_tasks', 'cli', 'cancelled', now() - interval '1 s' * (n / 7)
                FROM generate_series(1, 120) n
            """)
        )
    browser, path, seen = enter("viewer"), "/runs?job=canary&state=cancelled", list[str]()
    while path:
        page = browser.client.get(path).text
        seen += re.findall(r'href="/runs/([0-9a-f-]{36})"', page)
        found = re.search(r'href="(/runs\?[^"]*before=[^"]+)"', page)
        path = found[1].replace("&amp;", "&") if found else ""
    assert len(seen) == len(set(seen)) == 120


def test_both_languages_and_directions(desk: Desk, enter: Enter) -> None:
    browser = enter("viewer")
    assert 'lang="ar" dir="rtl"' in browser.client.get("/").text
    assert browser.post("/language", language="en").status_code == 303
    assert 'lang="en" dir="ltr"' in browser.client.get("/").text
    assert "Are we safe?" in browser.client.get("/").text


def test_health_tells_what_is_missing_and_metrics_want_their_token(desk: Desk) -> None:
    from pydantic import SecretStr

    browser = Browser(desk)
    assert browser.client.get("/healthz").status_code == 200
    ready = browser.client.get("/readyz")
    assert ready.status_code == 503
    assert "no worker for" in ready.json()["problems"]["workers"]
    assert browser.client.get("/metrics").status_code == 404
    fail(desk, make_run(desk))
    pause_queue(desk.engine, "reports", paused_by="omar", origin=None, reason=None)
    open_one = Browser(desk, desk.settings.model_copy(update={"web_metrics_token": SecretStr("t0ken")}))
    assert open_one.client.get("/metrics").status_code == 401
    figures = open_one.client.get("/metrics", headers={"Authorization": "Bearer t0ken"}).text
    # What scales workers by them must not find nothing where a queue has no runs.
    for queue in ("k9_tasks", "schedules", "notifications", "reports", "backups"):
        for kind in ("due", "running"):
            assert f'k9ops_queue_runs{{kind="{kind}",queue="{queue}"}} ' in figures
    assert 'k9ops_runs_ended_1d{job="canary",state="failed"} 1.0' in figures
    assert 'k9ops_queue_messages{kind="waiting",queue="k9_tasks"}' in figures
    assert 'k9ops_queue_paused{queue="reports"} 1.0' in figures
    assert 'k9ops_queue_paused{queue="backups"} 0.0' in figures


def test_audit_shows_what_was_changed(desk: Desk, enter: Enter) -> None:
    add_account(desk.engine, "نورة", PASSWORD, "viewer", by="سالم", origin="cli on k9-server")
    remove_account(desk.engine, "نورة", by="سالم", origin="cli on k9-server")
    page = enter("admin").client.get("/audit").text
    row = page[page.index("<tbody>") : page.index("</tr>", page.index("<tbody>"))]
    assert "قبل" in row
    assert "بعد" not in row
    assert "viewer" in row
    assert 'سطر الأوامر على <bdi class="whole" dir="ltr">k9-server</bdi>' in row


def test_error_has_an_arabic_sentence_and_the_original_below(desk: Desk, enter: Enter) -> None:
    run = make_run(desk)
    end_run(desk, run, "failed", "PostgreSQL is not available: <b>gone</b>.", error_class="DatabaseUnavailable")
    original = '<bdi lang="en" dir="ltr" class="original">PostgreSQL is not available: &lt;b&gt;gone&lt;/b&gt;.</bdi>'
    browser = enter("operator")
    for path in ("/", "/runs", f"/runs/{run.id}", "/selections/retry?state=failed"):
        page = browser.client.get(path).text
        assert f'<span class="kind">قاعدة البيانات لا تستجيب أو رفضت الطلب.</span> {original}' in page, path
    browser.post("/language", language="en", page="/")
    assert "قاعدة البيانات" not in browser.client.get(f"/runs/{run.id}").text


def test_private_parameter_of_a_report_is_nowhere_to_be_read(
    desk: Desk, enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    browser, person = enter("admin"), "EMP-48151"
    answer = browser.post("/reports/new/attendance", employee=person, format="csv")
    assert answer.status_code == 303
    run_id = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    assert get_run(desk.engine, uuid.UUID(run_id)).params["params"]["employee"] == person
    with desk.engine.begin() as connection:
        after = connection.execute(text("SELECT after FROM k9ops.audit_event ORDER BY id DESC LIMIT 1")).scalar_one()
    assert after["params"]["params"]["employee"] == "•••"
    run = get_run(desk.engine, uuid.UUID(run_id))
    print_run(run, desk.settings.zone)
    shown = capsys.readouterr().out + json.dumps(run_document(run, parent=run, follow_ups=[run]), default=str)
    assert "attendance" in shown
    assert person not in shown
    for path in (f"/runs/{run_id}", "/runs", "/audit", "/", "/queues", "/reports"):
        assert person not in browser.client.get(path).text, path
    assert "•••" in browser.client.get(f"/runs/{run_id}").text
