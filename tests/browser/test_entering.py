from __future__ import annotations

from playwright.sync_api import Browser, expect
from tests.browser.conftest import OpenPage
from tests.web_fixtures import PASSWORD


def test_login_lets_in_who_knows_the_password_and_tells_who_does_not(open_page: OpenPage) -> None:
    page = open_page(None)
    expect(page).to_have_url("/login")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("operator")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong word")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("header")).to_contain_text("operator")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("button", name="تسجيل الخروج").click()  # a new account reads Arabic
    expect(page).to_have_url("/login")
    page.go_back()
    page.reload()
    expect(page).to_have_url("/login")


def test_language_is_chosen_once_and_turns_the_page(open_page: OpenPage) -> None:
    page = open_page("viewer", "/schedules", language="en")
    assert page.locator("html").get_attribute("dir") == "ltr"
    assert _brand_is_left_of_person(page)
    page.get_by_role("button", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page).to_have_url("/schedules")
    expect(page.get_by_role("heading", level=1)).to_have_text("الجدولة")
    assert not _brand_is_left_of_person(page)
    page.goto("/runs")
    expect(page.locator("html")).to_have_attribute("lang", "ar")


def test_page_of_a_session_that_ended_leads_to_the_login(open_page: OpenPage, chromium: Browser) -> None:
    page = open_page("admin", "/runs")
    page.context.clear_cookies()
    page.get_by_role("link", name="Audit").click()
    expect(page).to_have_url("/login")


def _brand_is_left_of_person(page) -> bool:  # type: ignore[no-untyped-def]
    brand, person = page.locator(".brand").bounding_box(), page.locator(".person").bounding_box()
    return bool(brand["x"] < person["x"])
