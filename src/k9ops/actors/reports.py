"""Jobs of the queue `reports`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dramatiq

from k9ops.backups.drive_other import upload_beside_backups
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Execution, Outcome
from k9ops.reports import jobs
from k9ops.reports.catalogue import PRIVATE_PARAMS
from k9ops.reports.delivery import deliver

_SOFT_LIMIT_MS = get_settings().report_soft_limit_s * 1000
_HARD_LIMIT_MS = get_settings().report_hard_limit_s * 1000


@dramatiq.actor(
    actor_name="create_report",
    queue_name="reports",
    priority=50,
    max_retries=3,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
    is_coalesced=True,
    private_params=PRIVATE_PARAMS,
)
def create_report(
    *,
    report: str,
    params: dict[str, str] | None = None,
    format: str = "pdf",
    requested_by: str | None = None,
    reuse: bool = False,
    skip_if_empty: bool = False,
    as_of: str | None = None,
    deliver_to: list[str] | None = None,
) -> Outcome:
    """Make a report as PDF, spreadsheet or CSV in the folder of reports.

    Args:
        report: Key of a report.
        params: Its parameters, texts.
        format: `pdf`, `xlsx` or `csv`.
        requested_by: Who asks; None is the requester of the run.
        reuse: Take a finished one if the data have not changed since.
        skip_if_empty: Make no file when there is no row.
        as_of: Relative dates count from the day of this moment; None is when it was asked for.
        deliver_to: E-mail addresses, `folder:NAME` or `drive`; each gets a run of `deliver_report`.
    """
    wanted = {"report": report, "params": params, "format": format, "requested_by": requested_by}
    options = {"reuse": reuse, "skip_if_empty": skip_if_empty, "as_of": as_of, "deliver_to": deliver_to or ()}
    return jobs.create(get_settings(), get_engine(), execution=current_execution(), **wanted, **options)  # type: ignore[arg-type]


@dramatiq.actor(
    actor_name="deliver_report",
    queue_name="reports",
    priority=40,
    max_retries=8,
    min_backoff=60_000,
    max_backoff=3_600_000,
    soft_limit=300_000,
    time_limit=360_000,
)
def deliver_report(*, artefact_id: str, recipient: str) -> Outcome:
    """Bring a finished report to one recipient.

    Args:
        artefact_id: Id of a finished report.
        recipient: An e-mail address, `folder:NAME` or `drive`.
    """
    settings, engine = get_settings(), get_engine()

    def upload(path: Path, name: str, execution: Execution) -> dict[str, Any]:
        return upload_beside_backups(settings, engine, path, name=name, execution=execution)

    return deliver(settings, execution=current_execution(), artefact_id=artefact_id, recipient=recipient, upload=upload)


@dramatiq.actor(
    actor_name="expire_reports",
    queue_name="reports",
    priority=50,
    max_retries=3,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
)
def expire_reports() -> Outcome:
    """Delete the finished reports that have expired."""
    return jobs.expire(get_settings())
