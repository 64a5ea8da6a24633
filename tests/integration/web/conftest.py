"""The dashboard on a real database, a real Redis and real folders, asked over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from k9ops.broker.build import K9opsRedisBroker
from k9ops.config.settings import Settings, get_settings
from k9ops.web.accounts import add_account
from k9ops.web.app import build_app
from k9ops.web.visit import Desk

PASSWORD = "a long enough word"


@pytest.fixture
def desk(engine: Engine, broker: K9opsRedisBroker) -> Desk:
    from k9ops import actors

    for name in ("viewer", "operator", "admin"):
        add_account(engine, name, PASSWORD, name, by="test", origin="test")
    for actor in actors.broker.get_declared_actors():
        declared = actors.broker.get_actor(actor)
        broker.actors[actor] = declared
        broker.declare_queue(declared.queue_name)
    return Desk(get_settings(), engine, broker)


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
