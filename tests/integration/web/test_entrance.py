from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from tests.integration.web.conftest import Browser
from tests.web_fixtures import PASSWORD

from k9ops.web.accounts import remove_account, set_password, set_role
from k9ops.web.app import PAGES
from k9ops.web.visit import SESSION_COOKIE, Desk

Enter = Callable[[str], Browser]


def test_every_page_sends_a_stranger_to_the_login(desk: Desk) -> None:
    browser = Browser(desk)
    for path, method, _, role in PAGES:
        if role is not None:
            answer = browser.client.request(method, path.replace("{run_id}", "x"))
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path


def test_login_gives_a_new_session_whatever_cookie_came(desk: Desk) -> None:
    browser = Browser(desk)
    browser.client.cookies.set(SESSION_COOKIE, "chosen-by-somebody-else")
    assert browser.log_in("viewer") == 303
    assert "chosen-by-somebody-else" not in browser.client.cookies.get(SESSION_COOKIE, "", domain="dashboard.local")
    assert browser.client.get("/").status_code == 200
    other = Browser(desk)
    other.client.cookies.set(SESSION_COOKIE, "chosen-by-somebody-else")
    assert other.client.get("/").status_code == 303


def test_session_cookie_is_out_of_reach_of_scripts(desk: Desk) -> None:
    browser = Browser(desk)
    form = {"csrf": browser.token("/login"), "name": "viewer", "password": PASSWORD}
    cookie = browser.client.post("/login", data=form).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie


def test_only_digests_of_tokens_are_stored(desk: Desk, enter: Enter) -> None:
    token = next(value for name, value in enter("viewer").client.cookies.items() if name == SESSION_COOKIE)
    with desk.engine.begin() as connection:
        stored = connection.execute(text("SELECT token_sha256 FROM k9ops.web_session")).scalars().all()
    assert all(token.encode() not in bytes(digest) for digest in stored)


@pytest.mark.parametrize("end", ["logout", "role", "password", "remove"])
def test_what_ends_a_session_ends_it_at_once(desk: Desk, enter: Enter, end: str) -> None:
    browser = enter("operator")
    cookies = dict(browser.client.cookies)
    if end == "logout":
        assert browser.post("/logout").status_code == 303
        browser.client.cookies.update(cookies)
    elif end == "role":
        set_role(desk.engine, "operator", "viewer", by="t", origin="t")
    elif end == "password":
        set_password(desk.engine, "operator", "another long word", by="t", origin="t")
    else:
        remove_account(desk.engine, "operator", by="t", origin="t")
    assert browser.client.get("/").status_code == 303
    assert browser.client.get("/live/overview").status_code == 403


def test_brute_force_is_stopped_also_for_the_right_password(desk: Desk) -> None:
    browser = Browser(desk)
    assert [browser.log_in("admin", f"wrong word {n}") for n in range(5)] == [401] * 5
    assert browser.log_in("admin") == 429
    assert browser.log_in("viewer") == 303


def test_address_is_stopped_that_tries_many_names(desk: Desk) -> None:
    browser = Browser(desk)
    with desk.engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO k9ops.web_login_failure (name, address)
                SELECT 'name' || n, 'testclient' FROM generate_series(1, 20) n
            """)
        )
    assert browser.log_in("viewer") == 429


def test_unknown_name_and_wrong_password_are_told_alike(desk: Desk) -> None:
    browser, token = Browser(desk), ""
    answers = []
    for name in ("viewer", "nobody"):
        token = browser.token("/login")
        answer = browser.client.post("/login", data={"csrf": token, "name": name, "password": "wrong word"})
        answers.append((answer.status_code, answer.text.replace(token, "")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


def test_login_form_of_another_browser_is_refused(desk: Desk) -> None:
    form = {"csrf": Browser(desk).token("/login"), "name": "viewer", "password": PASSWORD}
    assert Browser(desk).client.post("/login", data=form).status_code == 403


def test_odd_input_at_the_login_is_no_fault(desk: Desk) -> None:
    browser = Browser(desk)
    for name in ("\x00", "a" * 5000, "\ud83d", "' OR 1=1 --", "%00"):
        form = {"csrf": browser.token("/login"), "name": name.encode("utf-8", "replace"), "password": "x" * 9000}
        assert browser.client.post("/login", data=form).status_code in (401, 429)


def test_proxy_header_counts_from_a_trusted_proxy_only(desk: Desk) -> None:
    changes = {"web_user_header": "X-Remote-User", "web_proxies": "10.9.9.9"}
    far = Browser(desk, desk.settings.model_copy(update=changes))
    assert far.client.get("/", headers={"X-Remote-User": "admin"}).status_code == 303
    # Starlette's client calls itself `testclient`: as good an address as any here.
    near = Browser(desk, desk.settings.model_copy(update=changes | {"web_proxies": "testclient"}))
    answer = near.client.get("/", headers={"X-Remote-User": "admin", "X-Forwarded-Proto": "https"})
    assert answer.status_code == 200
    assert "Secure" in answer.headers["set-cookie"]
    assert near.client.get("/audit", headers={"X-Remote-User": "viewer"}).status_code == 403
    assert near.client.get("/", headers={"X-Remote-User": "nobody"}).status_code == 303
    assert near.client.get("/").status_code == 303


def test_answers_carry_a_strict_policy(desk: Desk, enter: Enter) -> None:
    for path in ("/", "/login", "/static/k9ops.css", "/nowhere"):
        headers = enter("viewer").client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_done_and_redirects_never_leave_the_site(desk: Desk, enter: Enter) -> None:
    browser = enter("viewer")
    page = browser.client.get("/?done=https://evil.example/")
    assert "evil.example" not in page.text
    assert browser.client.get("/login?next=https://evil.example/").headers["location"] == "/"
    assert browser.client.get("/%2fevil.example/").status_code == 404


def test_language_leads_back_to_the_page_and_never_leaves_the_site(enter: Enter) -> None:
    browser = enter("viewer")
    for page in ("/runs?job=canary&words=%D9%83", "/schedules", "/"):
        assert browser.post("/language", language="en", page=page).headers["location"] == page
    for page in (
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
        "javascript:x",
        "",
        "/\t/evil.example",
    ):
        assert browser.post("/language", language="en", page=page).headers["location"] == "/"
