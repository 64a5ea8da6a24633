from __future__ import annotations

import socket
import stat
from pathlib import Path

from sqlalchemy import Engine

from k9ops.cli.dashboard import plan_dashboard, prepare_first_account
from k9ops.config.settings import Settings
from k9ops.web.accounts import authenticate, list_accounts, remove_account


def test_port_is_another_one_when_somebody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = plan_dashboard(Settings(web_port=port))
        assert plan.port not in (port, 0)
    assert plan_dashboard(Settings(web_port=port)).port == port
    assert plan.variables == {"K9OPS_WEB_PORT": str(plan.port)}
    assert plan_dashboard(Settings(web_host="::1")).url.startswith("http://[::1]:")


def test_first_account_is_made_once_and_its_password_is_for_its_owner_alone(engine: Engine, tmp_path: Path) -> None:
    path = prepare_first_account(engine, Settings(), tmp_path)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = path.read_text(encoding="utf-8").strip()
    account = authenticate(engine, "local", password, address="t")
    assert account is not None
    assert account.role == "admin"
    assert prepare_first_account(engine, Settings(), tmp_path) == path
    assert path.read_text(encoding="utf-8").strip() == password
    path.unlink()
    assert prepare_first_account(engine, Settings(), tmp_path) is None
    assert [item.name for item in list_accounts(engine)] == ["local"]


def test_no_account_is_made_where_a_proxy_names_people(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(web_user_header="X-Remote-User", web_proxies="127.0.0.1")
    assert prepare_first_account(engine, settings, tmp_path) is None
    assert list_accounts(engine) == []


def test_password_of_an_account_that_went_is_replaced(engine: Engine, tmp_path: Path) -> None:
    path = prepare_first_account(engine, Settings(), tmp_path)
    assert path is not None
    before = path.read_text(encoding="utf-8")
    remove_account(engine, "local", by="t", origin="t")
    assert prepare_first_account(engine, Settings(), tmp_path) == path
    assert path.read_text(encoding="utf-8") != before
