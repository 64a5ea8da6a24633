"""The demo's dashboard: one person logs in over HTTP and reads the first page."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import requests
from sqlalchemy import Engine

from k9ops.cli.dashboard import LOCAL_ACCOUNT, plan_dashboard
from k9ops.cli.demo_checks import DemoCheck
from k9ops.cli.services import ServiceProcess
from k9ops.config.settings import Settings
from k9ops.web.accounts import add_account, set_language

_TIMEOUT_S = 30


def check_dashboard(
    engine: Engine,
    settings: Settings,
    backup_id: str | None,
    *,
    environment: Mapping[str, str],
    folder: Path,
    wait: Callable[[Callable[[], bool]], None],
) -> DemoCheck:
    """Start the dashboard, log in, and read whether it answers and what its first page says of the backup."""
    password = secrets.token_urlsafe(12)
    add_account(engine, LOCAL_ACCOUNT, password, "viewer", by="demo", origin="demo")
    set_language(engine, LOCAL_ACCOUNT, "en")
    plan = plan_dashboard(settings.model_copy(update={"web_port": 0}))  # two demos may run side by side
    with ExitStack() as stack:
        log = stack.enter_context((folder / "web.log").open("wb"))
        process = ServiceProcess(plan, environment=environment, cwd=folder, output=log)
        stack.callback(process.stop)
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        wait(lambda: process.exit_code() is not None or _is_alive(session, plan.url))
        if process.exit_code() is not None:
            return DemoCheck("dashboard", is_ok=False, detail=f"it ended with code {process.exit_code()}")
        ready = session.get(f"{plan.url}/readyz", timeout=_TIMEOUT_S)
        page = _log_in(session, plan.url, password)
    verdict = re.search(r'class="verdict \w+"><strong>([^<]*)', page)
    words = html.unescape(verdict[1]) if verdict else "nothing"
    shows_backup = backup_id is not None and f"/backups/{backup_id}" in page
    detail = f"{plan.url} is {'ready' if ready.ok else 'not ready'}; asked whether we are safe, it says: {words}"
    if not shows_backup:
        detail += " It does not show the verified backup."
    return DemoCheck("dashboard", is_ok=ready.ok and verdict is not None and shows_backup, detail=detail)


def _is_alive(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/healthz", timeout=_TIMEOUT_S).ok
    except requests.ConnectionError:
        return False


def _log_in(session: requests.Session, url: str, password: str) -> str:
    form = session.get(f"{url}/login", timeout=_TIMEOUT_S).text
    token = re.search(r'name="csrf" value="([^"]+)"', form)
    fields = {"csrf": token[1] if token else "", "name": LOCAL_ACCOUNT, "password": password}
    return session.post(f"{url}/login", data=fields, timeout=_TIMEOUT_S).text
