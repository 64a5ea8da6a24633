"""`k9ops report`: which reports there are, making one, and taking a finished one out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.follow import follow_run
from k9ops.cli.inline import run_here
from k9ops.cli.jobs import SUCCESS_STATES
from k9ops.cli.names import Reason, load_broker
from k9ops.cli.output import (
    JsonFlag,
    format_bytes,
    format_moment,
    print_fields,
    print_json,
    print_remark,
    print_table,
    print_text,
)
from k9ops.cli.run_view import SHORT_ID, print_outcome, run_dict
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.cli.viewer import find_viewer, open_in_viewer
from k9ops.config.settings import Settings
from k9ops.db.application import ApplicationSchema, inspect_application
from k9ops.db.engine import database_errors, get_engine
from k9ops.errors import DatabaseUnavailable, ParamsInvalid
from k9ops.ledger.model import Run
from k9ops.private import hide_params
from k9ops.reports.artefacts import Artefact, list_artefacts, load_artefact, open_artefact
from k9ops.reports.catalogue import PRIVATE_PARAMS, REPORTS, find_report
from k9ops.reports.definition import Parameter, Report
from k9ops.reports.jobs import check_format
from k9ops.reports.parameters import check_parameters, describe_default
from k9ops.reports.recipients import parse_recipients

app = typer.Typer(help="Make reports, look at them, take them out.", no_args_is_help=True)


def _complete_report(incomplete: str) -> list[str]:
    return [key for key in REPORTS if key.startswith(incomplete)]


ReportType = Annotated[
    str, typer.Argument(metavar="TYPE", help="Key of a report, e.g. attendance.", autocompletion=_complete_report)
]

RecipientOption = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="RECIPIENT", help="An e-mail address, folder:NAME or drive; may be given again."),
]


@app.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the reports, and which of them this application's database cannot give."""
    open_settings()
    schema = _look_at_application()
    if as_json:
        print_json({"reports": [_report_document(report, schema) for report in REPORTS.values()]})
        return
    rows = [
        [report.key, report.title.en, report.title.ar, _say_availability(report, schema), report.about.en]
        for report in REPORTS.values()
    ]
    print_table(("type", "title", "in Arabic", "here", "about"), rows, empty="No reports.")


@app.command("show")
def show(report_type: ReportType, as_json: JsonFlag = False) -> None:
    """Show one report: its parameters with their defaults, its columns, what it reads."""
    open_settings()
    report = find_report(report_type)
    schema = _look_at_application()
    if as_json:
        print_json(_report_document(report, schema))
        return
    print_fields(
        {
            "report": report.key,
            "title": f"{report.title.en} / {report.title.ar}",
            "about": report.about.en,
            "paper": f"A4 {'landscape' if report.is_landscape else 'portrait'}",
            "here": _say_availability(report, schema),
        }
    )
    print_text("")
    rows = [
        [item.name, item.title.en, item.title.ar, item.kind, describe_default(item), ", ".join(item.choices)]
        for item in report.all_parameters
    ]
    print_table(("parameter", "title", "in Arabic", "kind", "default", "choices"), rows, empty="")
    print_text("")
    columns = [
        [section.key, column.key, column.header.en, column.header.ar, column.kind]
        for section in report.sections
        for column in section.columns_for(_default_values(report))
    ]
    print_table(("section", "column", "header", "in Arabic", "kind"), columns, empty="")


@app.command("create")
def create(
    report_type: ReportType,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the report; may be given again."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", "-f", help="pdf, xlsx or csv.")] = "pdf",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run until it has ended.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Show it when it is finished; waits for it.")] = False,
    here: Annotated[bool, typer.Option("--here", help="Make it in this process; Redis is not needed.")] = False,
    reuse: Annotated[bool, typer.Option("--reuse", help="Take a finished one if the data are unchanged.")] = False,
    skip_if_empty: Annotated[bool, typer.Option("--skip-if-empty", help="Make no file without rows.")] = False,
    to: RecipientOption = None,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a worker for a report.

    Exits 1 when --wait, --open or --here was given and the run did not succeed.
    """
    viewer = find_viewer() if open_it else None
    settings = open_settings()
    report = find_report(report_type)
    texts = parse_texts(param or [])
    recipients = parse_recipients(to or [])
    check_parameters(report, texts, today=datetime.now(UTC).astimezone(settings.zone).date())
    params: dict[str, Any] = {"report": report.key, "params": texts, "format": check_format(file_format)}
    params |= {"reuse": reuse, "skip_if_empty": skip_if_empty}
    if recipients:
        params["deliver_to"] = [str(recipient) for recipient in recipients]
    broker, engine = load_broker(), get_engine()
    actor = find_actor(broker, "create_report")
    if here:
        ended = run_here(engine, broker, settings, actor, params, reason=reason, is_silent=as_json)
        _show_end(ended, settings, as_json=as_json, viewer=viewer)
        return
    who = name_requester()
    asked = enqueue_run(
        engine, broker, settings, actor, params, trigger="cli", requested_by=who, origin=name_here(), reason=reason
    )
    short = str(asked.run_id)[:SHORT_ID]
    if not (wait or open_it):
        if as_json:
            print_json({"run_id": str(asked.run_id), "is_new": asked.is_new, "path": asked.path})
        elif asked.is_new:
            print_text(f"Run {short} makes the report; `k9ops runs show {short}` says how it goes.")
        else:
            print_text(f"Run {short} makes this very report already; nothing was sent.")
        return
    run = follow_run(engine, asked.run_id, is_silent=as_json)
    _show_end(run, settings, as_json=as_json, viewer=viewer)


@app.command("artefacts")
def artefacts(as_json: JsonFlag = False) -> None:
    """List the finished reports, newest first. Needs no database."""
    settings = open_settings()
    found = list_artefacts(settings.reports_dir)
    if as_json:
        print_json({"artefacts": [_to_document(artefact) for artefact in found]})
        return
    rows = [
        [
            artefact.artefact_id,
            artefact.report,
            artefact.format,
            f"{artefact.row_count:,}",
            str(artefact.pages or "-"),
            format_bytes(artefact.size_bytes),
            artefact.requested_by or "-",
            format_moment(artefact.created_at, settings.zone),
            format_moment(artefact.expires_at, settings.zone),
        ]
        for artefact in found
    ]
    columns = (
        "id",
        "report",
        "format",
        ">rows",
        ">pages",
        ">size",
        "asked by",
        f"made ({settings.zone.key})",
        "expires",
    )
    print_table(columns, rows, empty="No finished reports.")


@app.command("get")
def get(
    artefact_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a finished report, or its beginning.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or folder to write; `-` is standard output. Default: this folder."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy a finished report out, its digest checked; an existing file is not replaced. Needs no database."""
    settings = open_settings()
    artefact = load_artefact(settings.reports_dir, artefact_id)
    with open_artefact(settings.reports_dir, artefact) as file:
        if str(output) == "-":
            shutil.copyfileobj(file, sys.stdout.buffer)
            return
        target = _choose_target(artefact, output)
        try:
            with target.open("xb") as copy:
                target.chmod(0o600)
                shutil.copyfileobj(file, copy)
        except FileExistsError:
            raise ParamsInvalid("--output: there is such a file already.") from None
    if as_json:
        print_json({**_to_document(artefact), "file": str(target)})
    else:
        print_text(str(target))


def _to_document(artefact: Artefact) -> dict[str, Any]:
    """Return the JSON form of a finished report, without the private values that it was asked for with."""
    return hide_params(artefact.model_dump(mode="json"), PRIVATE_PARAMS)


def _choose_target(artefact: Artefact, output: Path | None) -> Path:
    name = f"{artefact.report}-{artefact.artefact_id}.{artefact.format}"
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def _show_end(run: Run, settings: Settings, *, as_json: bool, viewer: str | None) -> None:
    artefact_id = (run.evidence or {}).get("artefact_id")
    if as_json:
        print_json({"run": run_dict(run)})
    else:
        print_outcome(run)
        if artefact_id:
            print_remark(f"`k9ops report get {artefact_id}` copies it here.")
    if run.state not in SUCCESS_STATES:
        raise typer.Exit(EXIT_FAILED)
    if viewer and artefact_id:
        folder = settings.reports_dir
        print_remark(f"Opened {open_in_viewer(viewer, folder, load_artefact(folder, artefact_id))}.")
    elif viewer:
        print_remark("There is nothing to open.")


def parse_texts(pairs: Sequence[str]) -> dict[str, str]:
    """Return the parameters that were given as NAME=VALUE.

    Raises:
        ParamsInvalid: One does not look like that, or is given twice.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ParamsInvalid(f"--param {pair!r}: it must look like name=value.")
        if name in texts:
            raise ParamsInvalid(f"--param {name}: it is given twice.")
        texts[name] = value
    return texts


def _look_at_application() -> ApplicationSchema | None:
    """Return what the application has; None when PostgreSQL is away, or knows no such application."""
    try:
        with database_errors(), get_engine().begin() as connection:
            schema = inspect_application(connection)
    except DatabaseUnavailable:
        return None
    return schema if schema.generation else None


def _say_availability(report: Report, schema: ApplicationSchema | None) -> str:
    if schema is None:
        return "unknown"
    missing = report.find_missing(schema)
    return f"lacks {', '.join(missing)}" if missing else "yes"


def _default_values(report: Report) -> dict[str, Any]:
    given = {item.name: "-" for item in report.all_parameters if item.is_required}
    return check_parameters(report, given, today=datetime.now(UTC).date())


def _report_document(report: Report, schema: ApplicationSchema | None) -> dict[str, Any]:
    return {
        "key": report.key,
        "title": {"ar": report.title.ar, "en": report.title.en},
        "about": {"ar": report.about.ar, "en": report.about.en},
        "is_landscape": report.is_landscape,
        "missing_tables": None if schema is None else list(report.find_missing(schema)),
        "parameters": [_parameter_document(parameter) for parameter in report.all_parameters],
        "sections": [
            {
                "key": section.key,
                "title": {"ar": section.title.ar, "en": section.title.en},
                "columns": [
                    {"key": column.key, "header": {"ar": column.header.ar, "en": column.header.en}, "kind": column.kind}
                    for column in section.columns_for(_default_values(report))
                ],
            }
            for section in report.sections
        ],
    }


def _parameter_document(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "title": {"ar": parameter.title.ar, "en": parameter.title.en},
        "kind": parameter.kind,
        "default": parameter.default,
        "is_required": parameter.is_required,
        "choices": list(parameter.choices),
    }
