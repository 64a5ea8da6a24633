from __future__ import annotations

from playwright.sync_api import expect
from tests.browser.conftest import OpenPage
from tests.web_fixtures import make_run

from k9ops.ledger.claims import claim_run, finish_run
from k9ops.web.visit import Desk


def test_pages_change_by_themselves_when_a_run_starts_and_ends(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    overview, one = open_page("viewer"), open_page("viewer", f"/runs/{run.id}")
    expect(overview.get_by_text("No run is executed now.")).to_be_visible()
    expect(one.get_by_role("heading", level=1)).to_contain_text("queued")
    claim = claim_run(desk.engine, run.id, owner="w", lease_s=3600, path="worker")
    assert claim is not None
    expect(overview.locator("tbody tr")).to_contain_text("running")
    expect(one.get_by_role("heading", level=1)).to_contain_text("running")
    assert finish_run(desk.engine, claim, state="failed", message="The disk is full.", error_class="DiskFull")
    expect(overview.get_by_text("The disk is full.")).to_be_visible()
    expect(overview.get_by_role("heading", name="Failed in the last day")).to_be_visible()
    expect(one.get_by_role("heading", level=1)).to_contain_text("failed")
    expect(one.locator("#run[hx-get]")).to_have_count(0)  # it asks no more


def test_form_that_somebody_fills_in_is_left_alone(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    page = open_page("operator", f"/runs/{run.id}")
    page.locator("summary", has_text="Cancel the run").click()
    page.get_by_label("Reason").fill("half a sen")
    claim = claim_run(desk.engine, run.id, owner="w", lease_s=3600, path="worker")
    assert claim is not None
    expect(page.get_by_role("heading", level=1)).to_contain_text("running")
    expect(page.get_by_label("Reason")).to_have_value("half a sen")
    expect(page.get_by_label("Reason")).to_be_focused()
