"""`k9ops alerts` and `k9ops watch`: what is wrong, who is told, and the watchman as a process of his own."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from k9ops.alerts.channels import build_channels
from k9ops.alerts.listing import list_incidents
from k9ops.alerts.muting import EVERYTHING, mute_rule
from k9ops.alerts.store import read_mutes
from k9ops.alerts.texts import describe_test
from k9ops.alerts.watchman import Watchman
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.names import Reason
from k9ops.cli.output import JsonFlag, format_moment, print_json, print_remark, print_table, print_text, style_state
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.cli.since import parse_since
from k9ops.config.logging import configure_logging
from k9ops.config.settings import get_settings
from k9ops.db.engine import database_errors, get_engine
from k9ops.errors import AlertUndelivered, DatabaseUnavailable, ParamsInvalid
from k9ops.ledger.execution import make_owner_name

app = typer.Typer(help="What is wrong, who is told of it, and silence for a while.", no_args_is_help=True)


@app.command("list")
def list_command(
    since: Annotated[
        str | None, typer.Option("--since", help="Also what is over since: 2h, 7d, or a date such as 2026-11-24.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what is wrong now, what could not be delivered, and what is muted; exits 1 when anything is wrong."""
    settings = open_settings()
    now = datetime.now(UTC)
    moment = parse_since(since, settings, now=now) if since else now
    with database_errors(), get_engine().begin() as connection:
        rows = list_incidents(connection, closed_since=moment if since else None)
        mutes = read_mutes(connection, now=now)
    channels = sorted(build_channels(settings, get_engine()))
    if as_json:
        documents = [{name: _plain(value) for name, value in vars(row).items()} for row in rows]
        muted = [{name: _plain(value) for name, value in vars(mute).items()} for mute in mutes]
        print_json({"incidents": documents, "mutes": muted, "channels": channels})
    else:
        columns = (f"since ({settings.timezone})", "until", "rule", "what", "not delivered")
        table = [
            [
                format_moment(row.opened_at, settings.zone),
                format_moment(row.closed_at, settings.zone) if row.closed_at else style_state("failed"),
                row.rule,
                row.message,
                row.undelivered or "-",
            ]
            for row in rows
        ]
        print_table(columns, table, empty="Nothing is wrong.")
        for mute in mutes:
            what = "everything" if mute.rule == EVERYTHING else f"{mute.rule} {mute.subject or ''}".strip()
            print_remark(f"Muted by {mute.muted_by} until {format_moment(mute.until, settings.zone)}: {what}.")
        if not channels:
            print_remark("No channel is set up, so nobody is told: see `docs/alerts.md`.")
    if any(row.closed_at is None for row in rows):
        raise typer.Exit(EXIT_FAILED)


@app.command("test")
def try_channels(as_json: JsonFlag = False) -> None:
    """Send a test message through every channel, and say what arrived; exits 1 unless all did."""
    settings = open_settings()
    now = datetime.now(UTC)
    content = describe_test(settings, requested_by=name_requester(), now=now)
    results: dict[str, str | None] = {}
    for name, send in build_channels(settings, get_engine()).items():
        try:
            send(content, f"k9ops-test-{now:%Y%m%dT%H%M%S%f}")
            results[name] = None
        except (AlertUndelivered, DatabaseUnavailable) as exc:
            results[name] = exc.user_message
    if as_json:
        print_json({"channels": [{"channel": name, "problem": problem} for name, problem in results.items()]})
    else:
        lines: list[list[RenderableType]] = [
            [name, style_state("failed" if problem else "ok"), problem or ""] for name, problem in results.items()
        ]
        print_table(("channel", "state", "problem"), lines, empty="No channel is set up: see `docs/alerts.md`.")
    if not results or any(results.values()):
        raise typer.Exit(EXIT_FAILED)


@app.command("mute")
def mute(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Name of a rule, or `all`.")],
    subject: Annotated[str | None, typer.Option("--subject", help="Only this job or schedule.")] = None,
    hours: Annotated[float, typer.Option("--hours", min=0, max=8760, help="For so long; 0 ends the silence.")] = 1.0,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Hear nothing of a rule for a while; what still goes on then is told then."""
    settings = open_settings()
    until, ended = mute_rule(
        get_engine(),
        EVERYTHING if rule == "all" else rule,
        subject=subject,
        hours=hours,
        muted_by=name_requester(),
        origin=name_here(),
        reason=reason,
        now=datetime.now(UTC),
    )
    if as_json:
        print_json({"rule": rule, "subject": subject, "until": until.isoformat() if hours else None, "ended": ended})
    elif hours:
        print_text(f"{rule} is muted until {format_moment(until, settings.zone)}.")
    else:
        print_text(f"{rule} is heard again." if ended else f"{rule} was not muted.")


def watch(
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON document a line, as it happens.")] = False,
) -> None:
    """Watch until Ctrl-C, as every worker and scheduler does too; for a machine of its own.

    One process at a time goes the rounds, elected through PostgreSQL.
    """
    settings = get_settings()
    shown = settings.model_copy(update={"log_format": "json"}) if as_json else settings
    configure_logging(shown, stream=sys.stdout)
    if not settings.watch_interval_s:
        raise ParamsInvalid("K9OPS_WATCH_INTERVAL_S is 0: nobody watches.")
    watchman = Watchman(settings, get_engine, holder=make_owner_name())
    while True:
        watchman.watch_once()
        time.sleep(settings.watch_interval_s)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
