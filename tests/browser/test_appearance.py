from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import OpenPage
from tests.web_fixtures import end_run, fail, make_run, open_incident

from k9ops.web.visit import Desk

_AXE = Path(__file__).parent / "axe-core" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def paths(desk: Desk, backup_id: str) -> tuple[str, ...]:
    """Every page, with something on it."""
    failed, queued = make_run(desk), make_run(desk)
    fail(desk, failed, "لا مساحة على القرص: No space left on device")
    done = make_run(desk, job="clean_notifications", parent_id=failed.id, params={"days": 30})
    end_run(desk, done, "succeeded", "12 notifications deleted.", evidence={"deleted": 12, "tables": {"a": 1}})
    open_incident(desk, "run_failed", "create_backup", "create_backup failed: No space left on device")
    open_incident(desk, "slot_late", "canary", "canary started 3 hours after its time.", is_over=True)
    runs = tuple(f"/runs/{run.id}" for run in (failed, queued, done))
    lists = ("/", "/runs", "/runs?words=x", "/queues", "/schedules", "/backups", "/reports", "/audit", "/alerts")
    return (*lists, *runs, f"/backups/{backup_id}", "/reports/new/attendance", "/nothing")


@pytest.mark.parametrize("language", ["ar", "en"])
def test_nothing_hinders_people_with_impairments(
    open_page: OpenPage, desk: Desk, paths: tuple[str, ...], language: str
) -> None:
    page = open_page(None, "/login", language=language)
    source = _AXE.read_text(encoding="utf-8")
    assert find_barriers(page, source) == []
    page = open_page("admin", "/", language=language)
    for path in paths:
        page.goto(path)
        for summary in page.locator("details.ask > summary").all()[:1]:
            summary.click()
        assert find_barriers(page, source) == [], path


def find_barriers(page: Page, source: str) -> list[Any]:
    """Return what axe finds in light and dark."""
    page.evaluate(source)
    found: list[Any] = []
    for scheme, rules in (("light", _RULES), ("dark", ["color-contrast"])):  # a scheme changes colours only
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        result = page.evaluate("rules => axe.run({runOnly: rules, resultTypes: ['violations']})", rules)
        assert result["passes"]
        found += [
            (scheme, item["id"], node["html"][:200], node["failureSummary"][:300])
            for item in result["violations"]
            for node in item["nodes"]
        ]
    return found


@pytest.mark.parametrize("language", ["ar", "en"])
def test_no_page_is_wider_than_a_telephone(open_page: OpenPage, paths: tuple[str, ...], language: str) -> None:
    page = open_page("admin", "/", language=language, viewport={"width": 360, "height": 740}, has_touch=True)
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_dark_follows_the_system(open_page: OpenPage) -> None:
    page = open_page("viewer", "/", color_scheme="dark")
    shades = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(shades) == "rgb(18, 22, 28)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(shades) != "rgb(18, 22, 28)"


def test_arabic_stands_on_the_right_and_codes_read_from_the_left(open_page: OpenPage, desk: Desk) -> None:
    run = make_run(desk)
    fail(desk, run, "No space left on device.")
    page = open_page("viewer", f"/runs/{run.id}", language="ar")
    heading, main = page.locator("h1").bounding_box(), page.locator("main").bounding_box()
    assert heading is not None
    assert main is not None
    assert heading["x"] + heading["width"] > main["x"] + main["width"] * 0.9
    expect(page.locator("pre")).to_have_css("direction", "ltr")
    expect(page.locator("p.lead bdi")).to_have_css("direction", "ltr")
    expect(page.locator("p.lead bdi")).to_have_attribute("lang", "en")
    done = make_run(desk, job="lock_schedules", queue="schedules")
    end_run(
        desk, done, "succeeded", "3 schedules from 2026-11-01 to 2026-11-03 are locked.", evidence={"size_bytes": 5}
    )
    page.goto(f"/runs/{done.id}")
    expect(page.locator("h1")).to_contain_text("قفل الجداول")
    expect(page.locator("p.lead")).to_contain_text("الجداول المقفلة")
    expect(page.locator("dd", has_text="5 بايت")).to_be_visible()
