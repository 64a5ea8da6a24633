from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, text
from tests.integration.web.conftest import Browser
from tests.web_fixtures import PASSWORD

from k9ops.web.accounts import remove_account, set_password, set_role
from k9ops.web.app import PAGES
from k9ops.web.cookies import CookieSigner
from k9ops.web.sessions import open_session
from k9ops.web.visit import SESSION_COOKIE, Desk

Enter = Callable[[str], Browser]
KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3)]


def cookie_of(browser: Browser) -> str:
    return next(value for name, value in browser.client.cookies.items() if name == SESSION_COOKIE)


def is_inside(desk: Desk, cookie: str) -> bool:
    """Tell whether a browser with this cookie, and nothing else, enters; the live page must say the same."""
    browser = Browser(desk)
    browser.client.cookies.set(SESSION_COOKIE, cookie)
    shown = browser.client.get("/").status_code == 200
    assert shown or browser.client.get("/live/overview").status_code == 403
    return shown


def with_keys(desk: Desk, *keys: str) -> Desk:
    settings = desk.settings.model_copy(update={"secret_key": SecretStr(",".join(keys))})
    return Desk(settings, desk.engine, desk.broker)


@contextmanager
def watch_sessions(engine: Engine) -> Iterator[list[str]]:
    """Note every statement about sessions."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "web_session" in statement:
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


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
    cookie = cookie_of(enter("viewer"))
    with desk.engine.begin() as connection:
        stored = connection.execute(text("SELECT token_sha256 FROM k9ops.web_session")).scalars().all()
    assert hashlib.sha256(cookie.partition(".")[0].encode()).digest() in stored
    assert all(cookie.encode() not in bytes(digest) for digest in stored)


def test_address_that_is_none_has_a_page(desk: Desk, enter: Enter) -> None:
    answer = enter("viewer").client.get("/nothing/here")
    assert answer.status_code == 404
    assert "لا توجد صفحة كهذه." in answer.text
    assert Browser(desk).client.get("/nothing", headers={"Accept-Language": "en"}).status_code == 404
    assert enter("operator").client.get("/queues/reports/pause").status_code == 404


@pytest.mark.parametrize("keys", [(), (KEYS[0],)], ids=["key of the database", "key of the settings"])
def test_cookie_that_was_not_signed_here_never_reaches_the_sessions(desk: Desk, keys: tuple[str, ...]) -> None:
    desk = with_keys(desk, *keys)
    cookie = desk.signer.sign(open_session(desk.engine, "admin", hours=1))
    token, _, signature = cookie.partition(".")
    stranger = with_keys(desk, KEYS[1]).signer
    with watch_sessions(desk.engine) as seen:
        for forged in (
            token,
            f"{token}.",
            f".{signature}",
            f"{token}.{signature[:-1]}",
            f"{token}.{signature}.",
            f"{token}.{signature}=",
            f"{token}x.{signature}",
            f"{token}.{signature[::-1]}",
            stranger.sign(token),
            "x" * 4000,
        ):
            assert not is_inside(desk, forged), forged
        assert seen == []
        assert is_inside(desk, cookie)
        assert seen


def test_every_process_believes_the_key_that_the_database_keeps(desk: Desk) -> None:
    cookie = desk.signer.sign(open_session(desk.engine, "viewer", hours=1))
    assert is_inside(with_keys(desk), cookie)
    with desk.engine.begin() as connection:
        assert len(connection.execute(text("SELECT key FROM k9ops.web_key")).scalar_one()) == 32


def test_key_is_changed_with_the_former_one_behind_it(desk: Desk) -> None:
    token = open_session(desk.engine, "viewer", hours=1)
    cookie = with_keys(desk, KEYS[0]).signer.sign(token)
    assert is_inside(with_keys(desk, KEYS[1], KEYS[0]), cookie)
    assert not is_inside(with_keys(desk, KEYS[1]), cookie)
    assert with_keys(desk, KEYS[1], KEYS[0]).signer.sign(token) == with_keys(desk, KEYS[1]).signer.sign(token)


def test_key_of_a_restored_database_holds_within_a_minute(desk: Desk) -> None:
    moment = [1000.0]
    signer = CookieSigner(desk.engine, (), clock=lambda: moment[0])
    former = signer.sign("token")
    with desk.engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.web_key SET key = :key"), {"key": bytes(32)})
    cookie = CookieSigner(desk.engine, ()).sign("token")
    assert (signer.read(former), signer.read(cookie)) == ("token", None)
    moment[0] += 60
    assert signer.read(cookie) == "token"
    assert signer.read(former) is None


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
