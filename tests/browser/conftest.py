"""The dashboard served on loopback, looked at with Debian's Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from k9ops.backups.catalogue import list_backups, make_backup_id
from k9ops.backups.create import create_backup
from k9ops.backups.verify import verify_backup
from k9ops.outcome import Execution
from k9ops.web.accounts import set_language
from k9ops.web.app import build_app
from k9ops.web.sessions import open_session
from k9ops.web.visit import SESSION_COOKIE, Desk

_CHROMIUM = "/usr/bin/chromium"
# A machine that is several times slower than any here still waits for the right thing, not for this.
_LIMIT_MS = 30_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session; every page has cookies and settings of its own."""
    arguments = ["--disable-dev-shm-usage", "--disable-gpu"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    expect.set_options(timeout=_LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def site(desk: Desk) -> Iterator[str]:
    """The address of the dashboard, served by a thread on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(desk), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def open_page(desk: Desk, site: str, chromium: Browser) -> Iterator[OpenPage]:
    """Return a page of a fresh browser: `open_page("operator", "/runs", language="en")`; None has not logged in.

    Further arguments are Playwright's for a context: `viewport`, `color_scheme`, `java_script_enabled`.
    A test fails when any of its pages breaks its own security policy or throws in a script.
    """
    contexts, faults = [], list[str]()

    def open_one(account: str | None, path: str = "/", *, language: str = "en", **options: object) -> Page:
        context = chromium.new_context(base_url=site, locale=language, **options)  # type: ignore[arg-type]
        context.set_default_timeout(_LIMIT_MS)
        contexts.append(context)
        if account is not None:
            set_language(desk.engine, account, language)
            cookie = desk.signer.sign(open_session(desk.engine, account, hours=1))
            context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": site}])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Security Policy" in said.text else None)
        page.goto(path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def kept_backups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one real backup of the session is kept, made by the first test that wants it."""
    return tmp_path_factory.mktemp("kept") / "backups"


@pytest.fixture
def backup_id(desk: Desk, kept_backups: Path) -> str:
    """A backup in the desk's folder, verified by restoring it."""
    folder = desk.settings.backup_dir
    if kept_backups.exists():
        shutil.copytree(kept_backups, folder)
    else:
        made_at = datetime.now(UTC)
        made = create_backup(
            desk.settings, desk.engine, backup_id=make_backup_id(made_at, uuid.uuid4()), execution=Execution()
        )
        assert verify_backup(desk.settings, made, execution=Execution()).state == "verified"
        shutil.copytree(folder, kept_backups)
    (backup,) = list_backups(folder).backups
    return backup.backup_id
