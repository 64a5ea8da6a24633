"""`k9ops web`: the dashboard, and who may enter it."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from k9ops.cli.names import load_broker
from k9ops.cli.output import JsonFlag, format_moment, print_json, print_remark, print_table, print_text
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.logging import configure_logging
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.errors import AccountInvalid
from k9ops.web import accounts

app = typer.Typer(help="The dashboard, and who may enter it.", invoke_without_command=True)
user = typer.Typer(help="Who may enter the dashboard.", no_args_is_help=True)
app.add_typer(user, name="user")

AccountName = Annotated[str, typer.Argument(metavar="NAME", help="Name of an account.", show_default=False)]


@app.callback()
def web(context: typer.Context) -> None:
    """Serve the dashboard on K9OPS_WEB_HOST and K9OPS_WEB_PORT until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    import uvicorn  # with Starlette, a quarter of a second that no other command pays

    from k9ops.web.app import build_app
    from k9ops.web.visit import Desk

    settings = get_settings()
    configure_logging(settings)
    desk = Desk(settings, get_engine(), load_broker())
    if not settings.web_user_header and not accounts.list_accounts(desk.engine):
        print_remark("Nobody may enter yet: `k9ops web user add NAME --role admin`.")
    with contextlib.suppress(KeyboardInterrupt):  # its normal end, after it has answered what was asked
        uvicorn.run(
            build_app(desk),
            host=settings.web_host,
            port=settings.web_port,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=3,
        )


@user.command("add")
def add(
    name: AccountName,
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")] = "viewer",
    as_json: JsonFlag = False,
) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    open_settings()
    engine = get_engine()
    accounts.check_role(role)
    accounts.add_account(engine, name, _read_password(), role, by=name_requester(), origin=name_here())
    _answer({"account": name, "role": role}, f"{name} may enter as {role}.", as_json=as_json)


@user.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the accounts."""
    settings = open_settings()
    found = accounts.list_accounts(get_engine())
    if as_json:
        print_json({"accounts": [vars(item) for item in found]})
        return
    rows: list[list[RenderableType]] = [
        [item.name, item.role, item.language, format_moment(item.created_at, settings.zone)] for item in found
    ]
    print_table(("name", "role", "language", "made"), rows, empty="Nobody may enter yet.")


@user.command("remove")
def remove(name: AccountName, as_json: JsonFlag = False) -> None:
    """Remove an account; whoever uses it is out at once."""
    open_settings()
    accounts.remove_account(get_engine(), name, by=name_requester(), origin=name_here())
    _answer({"account": name}, f"{name} may no longer enter.", as_json=as_json)


@user.command("passwd")
def passwd(name: AccountName, as_json: JsonFlag = False) -> None:
    """Give an account another password, asked for or read from standard input; its sessions end."""
    open_settings()
    accounts.set_password(get_engine(), name, _read_password(), by=name_requester(), origin=name_here())
    _answer({"account": name}, f"{name} has another password.", as_json=as_json)


@user.command("role")
def role_command(
    name: AccountName,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator or admin.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Give an account another role; its sessions end."""
    open_settings()
    accounts.set_role(get_engine(), name, role, by=name_requester(), origin=name_here())
    _answer({"account": name, "role": role}, f"{name} is {role}.", as_json=as_json)


def _read_password() -> str:
    """Return a password: typed twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise AccountInvalid("There is no password on standard input.")
    return line


def _answer(document: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_text(words)
