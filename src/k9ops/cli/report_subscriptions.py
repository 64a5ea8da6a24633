"""`k9ops report subscribe`: reports that the timetable makes and delivers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from k9ops.cli.names import Reason
from k9ops.cli.output import JsonFlag, format_moment, print_json, print_remark, print_table, print_text
from k9ops.cli.report import RecipientOption, ReportType, parse_texts
from k9ops.cli.report import app as app
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.db.report_subscriptions import Subscription, add_subscription, list_subscriptions, remove_subscription
from k9ops.errors import ParamsInvalid, RecipientInvalid
from k9ops.mail import find_server
from k9ops.periodic.timetable import check_cron, find_next_slot
from k9ops.private import hide_params
from k9ops.reports.catalogue import PRIVATE_PARAMS, find_report
from k9ops.reports.jobs import check_format
from k9ops.reports.parameters import check_parameters
from k9ops.reports.recipients import Recipient, parse_recipients

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


@app.command("subscribe")
def subscribe(
    report_type: ReportType,
    cron: Annotated[str, typer.Option("--cron", help="When, in the unit's time zone, e.g. '0 6 * * 0' for Sundays.")],
    to: RecipientOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; dates may be relative, as in today-7."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", "-f", help="pdf, xlsx or csv.")] = "pdf",
    name: Annotated[str | None, typer.Option("--name", help="Of the subscription; default: the TYPE.")] = None,
    skip_if_empty: Annotated[bool, typer.Option("--skip-if-empty", help="Send nothing without rows.")] = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Have a report made and delivered again and again, each time once.

    Relative dates count from the day for which it is due, also when it is made up for later. `k9ops schedule` pauses
    and resumes it by the name `report:NAME`.
    """
    settings = open_settings()
    report = find_report(report_type)
    texts = parse_texts(param or [])
    check_parameters(report, texts, today=datetime.now(UTC).astimezone(settings.zone).date())
    recipients = parse_recipients(to or [])
    if not recipients:
        raise ParamsInvalid("--to is missing: an e-mail address, folder:NAME or drive.")
    for recipient in recipients:
        _check_possible(settings, recipient)
    new = Subscription(
        name=_check_name(name or report.key.replace("_", "-")),
        report=report.key,
        params=texts,
        format=check_format(file_format),
        cron=check_cron(cron, settings.zone),
        recipients=tuple(str(recipient) for recipient in recipients),
        skip_if_empty=skip_if_empty,
        created_by=name_requester(),
    )
    add_subscription(get_engine(), new, origin=name_here(), reason=reason, private_params=PRIVATE_PARAMS)
    if as_json:
        print_json({"subscription": new.to_dict()})
        return
    first = format_moment(find_next_slot(new.cron, settings.zone, after=datetime.now(UTC)), settings.zone)
    print_text(
        f"Subscription {new.name}: first made at {first} ({settings.timezone}), for {', '.join(new.recipients)}."
    )


@app.command("subscriptions")
def subscriptions(as_json: JsonFlag = False) -> None:
    """List the reports that the timetable makes."""
    settings = open_settings()
    found = list_subscriptions(get_engine())
    documents = [hide_params(item.to_dict(), PRIVATE_PARAMS) for item in found]
    if as_json:
        print_json({"subscriptions": documents})
        return
    now = datetime.now(UTC)
    rows = [
        [
            item.name,
            item.report,
            item.format,
            ", ".join(f"{key}={value}" for key, value in shown["params"].items()) or "-",
            item.cron,
            format_moment(find_next_slot(item.cron, settings.zone, after=now), settings.zone),
            ", ".join(item.recipients),
            item.created_by,
        ]
        for item, shown in zip(found, documents, strict=True)
    ]
    columns = ("name", "report", "format", "parameters", "cron", f"next ({settings.timezone})", "to", "by")
    print_table(columns, rows, empty="No subscriptions. `k9ops report subscribe` makes one.")
    if found:
        print_remark("`k9ops schedule list` shows how the last ones ended, as report:NAME.")


@app.command("unsubscribe")
def unsubscribe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the subscription.")],
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """End a subscription; what is under way is still delivered."""
    open_settings()
    remove_subscription(
        get_engine(),
        name,
        removed_by=name_requester(),
        origin=name_here(),
        reason=reason,
        private_params=PRIVATE_PARAMS,
    )
    if as_json:
        print_json({"name": name})
    else:
        print_text(f"Subscription {name} has ended.")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ParamsInvalid(f"--name {name!r}: it must be small Latin letters, digits, - and _.")
    return name


def _check_possible(settings: Settings, recipient: Recipient) -> None:
    """Refuse what could never be delivered with these settings."""
    if recipient.kind == "mail":
        find_server(settings)
    elif recipient.kind == "folder" and settings.report_delivery_dir is None:
        raise RecipientInvalid(f"{recipient}: no folder is allowed; set K9OPS_REPORT_DELIVERY_DIR.")
