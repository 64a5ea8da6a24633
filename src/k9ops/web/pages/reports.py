"""Reports: the catalogue, the form of each, and the finished files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from starlette.responses import Response, StreamingResponse

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.reports.artefacts import FORMATS, Artefact, list_artefacts, load_artefact, open_artefact
from k9ops.reports.catalogue import REPORTS, find_report
from k9ops.reports.choices import list_choices
from k9ops.reports.jobs import check_format
from k9ops.reports.parameters import check_parameters
from k9ops.web.visit import Visit

_TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}
_CHUNK_BYTES = 256_000


def show_reports(visit: Visit) -> Response:
    """Show the catalogue and the finished reports."""
    artefacts = list_artefacts(visit.desk.settings.reports_dir)[:50]
    return visit.render("reports.html", reports=REPORTS.values(), artefacts=artefacts)


def show_report(visit: Visit) -> Response:
    """Show the form of one report."""
    report = find_report(visit.request.path_params["key"])
    choices = list_choices(visit.desk.engine, report)
    return visit.render("report.html", report=report, formats=FORMATS, choices=choices)


def request_report(visit: Visit) -> Response:
    """Ask a worker for a report."""
    desk, report = visit.desk, find_report(visit.request.path_params["key"])
    params = {
        item.name: visit.form[item.name].strip()
        for item in report.all_parameters
        if visit.form.get(item.name, "").strip()
    }
    kind = check_format(visit.form.get("format", "pdf"))
    check_parameters(report, params, today=datetime.now(UTC).astimezone(desk.settings.zone).date())
    asked = enqueue_run(
        desk.engine,
        desk.broker,
        desk.settings,
        find_actor(desk.broker, "create_report"),
        {"report": report.key, "params": params, "format": kind},
        trigger="web",
        requested_by=visit.person,
        origin=visit.origin,
    )
    return visit.go(f"/runs/{asked.run_id}", done="requested")


def hand_out(visit: Visit) -> Response:
    """Hand out a finished report, its digest checked; `?view=1` shows a PDF in the browser."""
    folder = visit.desk.settings.reports_dir
    artefact: Artefact = load_artefact(folder, visit.request.path_params["artefact_id"])
    with open_artefact(folder, artefact):
        pass  # it is what was written, or this raises
    is_shown = artefact.format == "pdf" and "view" in visit.request.query_params
    name = f"{artefact.report}-{artefact.file_name}"
    headers = {
        "Content-Disposition": f'{"inline" if is_shown else "attachment"}; filename="{name}"',
        "Content-Length": str(artefact.size_bytes),
    }

    def read() -> Iterator[bytes]:
        with open_artefact(folder, artefact) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    return StreamingResponse(read(), media_type=_TYPES[artefact.format], headers=headers)
