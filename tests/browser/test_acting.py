from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from sqlalchemy import text
from tests.browser.conftest import OpenPage
from tests.web_fixtures import end_run, fail, make_run

from k9ops.backups.catalogue import load_backup
from k9ops.ledger.requests import get_run
from k9ops.web.visit import Desk


def act(page: Page | Locator, button: str, reason: str) -> None:
    """Open the form of an action, say why, and send it."""
    page.locator("summary", has_text=button).click()
    form = page.locator("details[open] form")
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name=button).click()


def audited(desk: Desk, action: str) -> tuple[str, str | None]:
    statement = text("SELECT actor, reason FROM k9ops.audit_event WHERE action = :action ORDER BY id DESC LIMIT 1")
    with desk.engine.begin() as connection:
        actor, reason = connection.execute(statement, {"action": action}).one()
    return actor, reason


def test_run_is_retried_and_cancelled_with_a_reason(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    fail(desk, run)
    page = open_page("operator", f"/runs/{run.id}")
    page.locator("summary", has_text="Retry").click()
    page.get_by_role("button", name="Retry").click()  # the browser itself asks for the reason
    expect(page.locator("details", has_text="Retry").get_by_label("Reason")).to_be_focused()
    assert get_run(desk.engine, run.id).state == "failed"
    page.goto(f"/runs/{run.id}")
    act(page, "Retry", "الخادم عاد")
    expect(page.get_by_role("status")).to_have_text("The run is queued again.")
    assert audited(desk, "retry") == ("operator", "الخادم عاد")
    act(page, "Cancel the run", "no need any more")
    expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    assert audited(desk, "cancel") == ("operator", "no need any more")


def test_schedule_is_paused_resumed_and_run(open_page: OpenPage, desk: Desk) -> None:
    page = open_page("operator", "/schedules")
    card = page.locator("section", has=page.get_by_role("heading", name="canary"))
    for button, said in (("Pause", "The schedule is paused."), ("Resume", "The schedule goes on.")):
        act(card, button, f"to {button}")
        expect(page.get_by_role("status")).to_have_text(said)
        assert audited(desk, button.lower()) == ("operator", f"to {button}")
    act(card, "Run now", "to see")
    expect(page.get_by_role("status")).to_have_text("It is asked for; a worker takes it.")
    expect(page.get_by_role("heading", level=1)).to_contain_text("canary")


def test_backup_is_made_pinned_verified_and_downloaded(open_page: OpenPage, desk: Desk, backup_id: str) -> None:
    page = open_page("admin", "/backups")
    act(page, "Make a backup now", "before the update")
    expect(page.get_by_role("heading", level=1)).to_contain_text("create_backup")
    page.goto("/backups")
    page.get_by_role("link", name=backup_id).click()
    act(page, "Pin", "last of the old server")
    expect(page.get_by_role("status")).to_have_text("The backup is pinned.")
    act(page, "Unpin", "it may go")
    expect(page.get_by_role("status")).to_have_text("The backup is no longer pinned.")
    page.locator("summary", has_text="Download").click()
    form = page.locator("details[open] form")
    form.get_by_label("Reason").fill("copy for the archive")
    form.get_by_label(f"Type {backup_id} to confirm").fill(backup_id)
    with page.expect_download() as started:
        form.get_by_role("button", name="Download").click()
    archive = load_backup(desk.settings.backup_dir, backup_id).archive_path
    assert Path(started.value.path()).read_bytes() == archive.read_bytes()
    assert audited(desk, "download") == ("admin", "copy for the archive")
    page.goto(f"/backups/{backup_id}")
    act(page, "Verify now", "to be sure")
    expect(page.get_by_role("heading", level=1)).to_contain_text("verify_backup")


def test_report_is_asked_for(open_page: OpenPage, desk: Desk) -> None:
    page = open_page("operator", "/reports")
    page.locator("a[href='/reports/new/dogs']").click()
    page.get_by_label("File").select_option("xlsx")
    page.get_by_role("button", name="Make the report").click()
    expect(page.get_by_role("status")).to_have_text("It is asked for; a worker takes it.")
    expect(page.get_by_role("heading", level=1)).to_contain_text("create_report")


def test_viewer_sees_no_action(open_page: OpenPage, desk: Desk, backup_id: str) -> None:
    run = make_run(desk)
    page = open_page("viewer", "/")
    for path in ("/", "/schedules", "/backups", f"/backups/{backup_id}", f"/runs/{run.id}", "/reports"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("details.ask")).to_have_count(0)
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)


def test_filters_and_pages_of_runs(open_page: OpenPage, desk: Desk) -> None:
    fail(desk, make_run(desk), "The disk is full of كلاب.")
    with desk.engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at)
                SELECT gen_random_uuid(), 'prune_runs', 'k9_tasks', 'schedule', 'cancelled', now() - interval '1 h' * n
                FROM generate_series(1, 60) n
            """)
        )
    page = open_page("viewer", "/runs")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(11)
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("State").select_option("failed")
    page.get_by_label("Text of the message or error").fill("كلاب")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("The disk is full of كلاب.")
    page.get_by_label("State").select_option("cancelled")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(0)


def test_page_without_scripts_does_everything(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    page = open_page("operator", "/", java_script_enabled=False)
    expect(page.get_by_role("heading", name="Last verified backup")).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    page.locator(f"a[href='/runs/{run.id}']").click()
    act(page, "Cancel the run", "not needed")
    expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    page.get_by_role("button", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")


def test_everything_is_reached_by_keyboard(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    end_run(desk, run, "failed", "It broke.", error_class="Broken")
    page = open_page("operator", f"/runs/{run.id}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("summary", has_text="Retry")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The run is queued again.")
    assert audited(desk, "retry") == ("operator", "by keyboard")
