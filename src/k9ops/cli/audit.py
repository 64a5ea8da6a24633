"""`k9ops audit`: who changed what, and proof that nobody changed that."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from k9ops.backups.anchors import list_anchors
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.output import JsonFlag, format_moment, print_json, print_remark, print_table, print_text
from k9ops.cli.session import open_settings
from k9ops.cli.since import parse_since
from k9ops.db.audit import RecordedEvent, list_events
from k9ops.db.audit_chain import ChainReport, verify_chain
from k9ops.db.engine import database_errors, get_engine

app = typer.Typer(
    help="Who changed what, from where and why; and proof that nobody changed that.", no_args_is_help=True
)

_WIDEST = 60


@app.command("list")
def list_command(
    actor: Annotated[str | None, typer.Option("--actor", help="Only by this person or job.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this, e.g. cancel, pause, lock.")] = None,
    kind: Annotated[
        str | None, typer.Option("--target", help="Only about such things, e.g. run, schedule, backup.")
    ] = None,
    target_id: Annotated[str | None, typer.Option("--id", help="Only about one whose id begins so.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only since: 30m, 2h, 7d, or a date such as 2026-11-24T08:00.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most this many.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List what people and jobs changed, newest first."""
    settings = open_settings()
    moment = parse_since(since, settings, now=datetime.now(UTC)) if since else None
    with database_errors(), get_engine().begin() as connection:
        events = list_events(
            connection,
            actor=actor,
            action=action,
            target_type=kind,
            target_id=target_id,
            since=moment,
            limit=limit,
        )
    if as_json:
        print_json({"events": [event.to_dict() for event in events]})
        return
    columns = (">no.", f"at ({settings.timezone})", "who", "from", "what", "of", "why", "after")
    rows = [
        [
            str(event.id),
            format_moment(event.at, settings.zone),
            event.actor,
            event.origin or "-",
            event.action,
            f"{event.target_type} {event.target_id}",
            event.reason or "-",
            _shorten(event),
        ]
        for event in events
    ]
    print_table(columns, rows, empty="Nothing has been changed.")


@app.command("verify")
def verify(as_json: JsonFlag = False) -> None:
    """Prove that no entry was changed, removed or moved, also against the heads noted in the manifests of backups.

    Names the first entry that is not as it was written, and exits 1 then. The hash that it prints, kept elsewhere,
    proves later every entry up to that one.
    """
    settings = open_settings()
    report = verify_chain(get_engine(), list_anchors(settings.backup_dir))
    if as_json:
        print_json(_report_document(report))
    elif report.problem is None:
        backups = f", and {report.anchors} backups have noted the same" if report.anchors else ""
        print_text(f"All {report.entries} audit entries are as they were written{backups}. Head: {report.hash}")
        if report.other_anchors:
            print_remark(
                f"{report.other_anchors} backups are of another chain: the database was restored since, or is another."
            )
    else:
        print_text(f"{report.problem.message} The {report.entries} before it are whole.")
    if report.problem is not None:
        raise typer.Exit(EXIT_FAILED)


def _report_document(report: ChainReport) -> dict[str, Any]:
    return asdict(report) | {"is_whole": report.problem is None}


def _shorten(event: RecordedEvent) -> str:
    if event.after is None:
        return "-"
    words = json.dumps(dict(event.after), ensure_ascii=False)
    return words if len(words) <= _WIDEST else f"{words[:_WIDEST]}…"
