"""The dashboard on a real database, a real Redis and real folders, asked over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from tests.web_fixtures import PASSWORD

from k9ops.config.settings import Settings
from k9ops.web.app import build_app
from k9ops.web.visit import Desk


class Browser:
    """A person's browser: keeps cookies, and sends the form's token as the page has it."""

    def __init__(self, desk: Desk, settings: Settings | None = None) -> None:
        self.client = TestClient(
            build_app(Desk(settings or desk.settings, desk.engine, desk.broker)),
            base_url="http://dashboard",
            follow_redirects=False,
        )

    def token(self, path: str = "/") -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.client.get(path).text)
        return found[1] if found else ""

    def log_in(self, name: str, password: str = PASSWORD) -> int:
        form = {"csrf": self.token("/login"), "name": name, "password": password}
        return self.client.post("/login", data=form).status_code

    def post(self, path: str, **form: str):  # type: ignore[no-untyped-def]
        return self.client.post(path, data={"csrf": self.token(), **form})


@pytest.fixture
def enter(desk: Desk) -> Callable[[str], Browser]:
    def log_in(name: str) -> Browser:
        browser = Browser(desk)
        assert browser.log_in(name) == 303
        return browser

    return log_in
