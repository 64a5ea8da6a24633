"""The report jobs as plain calls: from a key and texts to a file that is whole, and the evidence for it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Engine

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid
from k9ops.outcome import Execution, FollowUp, Outcome, skipped
from k9ops.reports.artefacts import (
    FORMATS,
    Artefact,
    Format,
    delete_expired,
    is_whole,
    list_artefacts,
    make_artefact_id,
    store_description,
    store_file,
    work_folder,
)
from k9ops.reports.catalogue import find_report
from k9ops.reports.cells import Look
from k9ops.reports.csv_file import write_csv
from k9ops.reports.data import ReportData, read_report
from k9ops.reports.notice import tell_requester
from k9ops.reports.parameters import check_parameters
from k9ops.reports.pdf.document import Occasion, write_document
from k9ops.reports.pdf.own_folder import remove_abandoned_folders
from k9ops.reports.pdf.renderer import render_pdf
from k9ops.reports.recipients import Recipient, parse_recipients
from k9ops.slot import parse_moment
from k9ops.version import __version__

_LOG = get_logger("k9ops.reports")


def create(
    settings: Settings,
    engine: Engine,
    *,
    execution: Execution,
    report: str,
    params: Mapping[str, Any] | None = None,
    format: str = "pdf",
    requested_by: str | None = None,
    reuse: bool = False,
    skip_if_empty: bool = False,
    as_of: str | None = None,
    deliver_to: Sequence[str] = (),
) -> Outcome:
    """Make a report.

    Args:
        settings: Folder, limits, look.
        engine: The application's database.
        execution: Its run gives the report its id.
        report: Key of a report.
        params: Texts by name, as the report's definition says.
        format: `pdf`, `xlsx` or `csv`.
        requested_by: Who asks; None takes the requester of the run.
        reuse: Take a finished report of the same kind if the data have not changed since.
        skip_if_empty: Make no file when there is no row.
        as_of: Relative dates count from the day of this moment, ISO 8601 with offset; None is when it was asked for.
        deliver_to: Recipients, each of which gets a run of its own.

    Returns:
        `succeeded` with the artefact's id, digest, rows and pages, or `skipped`.

    Raises:
        ReportUnknown: There is no such report.
        ParamsInvalid: Names the parameter.
        RecipientInvalid: A recipient is none.
        K9opsError: As `read_report` and `render_pdf`.
    """
    definition, kind = find_report(report), check_format(format)
    requester = requested_by or execution.requested_by
    recipients = parse_recipients(deliver_to)
    today = (parse_moment(as_of, name="as_of") or execution.requested_at).astimezone(settings.zone).date()
    values = check_parameters(definition, params or {}, today=today)
    look = make_look(settings, values["language"])
    artefact_id = make_artefact_id(execution.requested_at, execution.run_id)
    occasion = Occasion(requester, settings.report_fixed_time or execution.requested_at)
    with work_folder(settings.reports_dir) as folder:
        limit = settings.report_max_pdf_rows if kind == "pdf" else settings.report_max_rows
        data = read_report(
            engine, settings, definition, values, today=today, folder=folder, execution=execution, max_rows=limit
        )
        if skip_if_empty and data.row_count == 0:
            return skipped("The report has no rows.", report=report, rows=0)
        look_sha256 = _hash_look(settings, look, kind, requester)
        found = _find_finished(settings, data, kind, look_sha256, artefact_id=artefact_id if not reuse else None)
        artefact = found or _make(
            settings, data, look, kind, occasion, folder, execution, artefact_id, dict(params or {}), look_sha256
        )
    is_told = tell_requester(engine, artefact, requester, run_id=execution.run_id)
    return _conclude(artefact, recipients, is_reused=found is not None, is_told=is_told)


def expire(settings: Settings, *, now: datetime | None = None) -> Outcome:
    """Delete the finished reports that have expired, and what killed runs have left."""
    gone, abandoned = delete_expired(settings.reports_dir, now=now or datetime.now(UTC))
    abandoned += remove_abandoned_folders()
    for artefact in gone:
        _LOG.info("report.deleted", artefact_id=artefact.artefact_id, report=artefact.report)
    if not gone and not abandoned:
        return skipped("No finished report has expired.")
    evidence = {"deleted": [artefact.artefact_id for artefact in gone], "unfinished": abandoned}
    return Outcome("succeeded", f"{len(gone)} expired reports and {abandoned} unfinished files are deleted.", evidence)


def check_format(text: str) -> Format:
    """Return a format.

    Raises:
        ParamsInvalid: It is none.
    """
    for known in FORMATS:
        if text == known:
            return known
    raise ParamsInvalid(f"format = {text!r}: it must be one of {', '.join(FORMATS)}.")


def make_look(settings: Settings, language: Any) -> Look:
    """Return how reports look by the settings, in a language."""
    return Look(language, settings.report_digits, settings.report_hijri, settings.zone)


def _make(
    settings: Settings,
    data: ReportData,
    look: Look,
    kind: Format,
    occasion: Occasion,
    folder: Path,
    execution: Execution,
    artefact_id: str,
    params: dict[str, Any],
    look_sha256: str,
) -> Artefact:
    pages: int | None = None
    rows, stop = data.row_count, execution.check_stop
    execution.report_progress(rows, rows, "rows")
    if kind == "pdf":
        description = write_document(data, look, settings, occasion, folder, check_stop=stop)
        rendered = folder / "report.pdf"
        pages = render_pdf(settings, description, rendered, execution=execution)
        execution.report_progress(pages, pages, "pages")

    def write(file: BinaryIO) -> None:
        if kind == "pdf":
            with rendered.open("rb") as made:
                shutil.copyfileobj(made, file)
        elif kind == "xlsx":
            unit = settings.unit_name_en if look.language == "en" else settings.unit_name_ar
            from k9ops.reports.xlsx_file import write_xlsx  # 9 MB that every process would carry

            write_xlsx(data, look, file, created_at=occasion.created_at, unit=unit, check_stop=stop)
        else:
            write_csv(data, look, file, check_stop=stop)

    size, sha256 = store_file(settings.reports_dir, f"{artefact_id}.{kind}", write)
    now = datetime.now(UTC)
    artefact = Artefact(
        artefact_id=artefact_id,
        report=data.report.key,
        title=look.say(data.report.title),
        params=params,
        format=kind,
        language=look.language,
        generation=data.generation,
        row_count=rows,
        pages=pages,
        size_bytes=size,
        sha256=sha256,
        data_sha256=data.sha256,
        look_sha256=look_sha256,
        requested_by=occasion.requested_by,
        created_at=now,
        expires_at=now + timedelta(days=settings.report_retention_days),
    )
    store_description(settings.reports_dir, artefact)
    _LOG.info("report.created", artefact_id=artefact_id, report=data.report.key, format=kind, rows=rows, pages=pages)
    return artefact


def _find_finished(
    settings: Settings, data: ReportData, kind: Format, look_sha256: str, *, artefact_id: str | None
) -> Artefact | None:
    """Return the newest whole report of the same data and look; with an id, only the one of an earlier attempt."""
    now = datetime.now(UTC)
    for artefact in list_artefacts(settings.reports_dir):
        is_same = (artefact.format, artefact.data_sha256, artefact.look_sha256) == (kind, data.sha256, look_sha256)
        is_wanted = artefact_id is None or artefact.artefact_id == artefact_id
        if is_same and is_wanted and artefact.expires_at > now and is_whole(settings.reports_dir, artefact):
            return artefact
    return None


def _hash_look(settings: Settings, look: Look, kind: Format, requester: str | None) -> str:
    shown: dict[str, Any] = {"version": __version__, "language": look.language, "zone": look.zone.key}
    if kind == "pdf":
        logo = settings.report_logo
        shown |= {
            "digits": look.digits,
            "hijri": look.has_hijri,
            "units": [settings.unit_name_ar, settings.unit_name_en],
            "logo": hashlib.sha256(logo.read_bytes()).hexdigest() if logo else None,
            "requested_by": requester,
            "fixed_time": str(settings.report_fixed_time),
        }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _conclude(artefact: Artefact, recipients: Sequence[Recipient], *, is_reused: bool, is_told: bool) -> Outcome:
    pages = "" if artefact.pages is None else f", {artefact.pages} pages"
    verb = "is unchanged and taken again" if is_reused else "is made"
    size = f"{artefact.format}, {artefact.row_count} rows{pages}"
    message = f"Report {artefact.report} ({size}) {verb}: {artefact.artefact_id}."
    evidence = {**artefact.evidence, "reused": is_reused, "notified": is_told}
    follow_ups = tuple(
        FollowUp("deliver_report", {"artefact_id": artefact.artefact_id, "recipient": str(recipient)})
        for recipient in recipients
    )
    return Outcome("succeeded", message, evidence, follow_ups)
