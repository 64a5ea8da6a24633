"""Jobs of the queue `reports`."""

from __future__ import annotations

import dramatiq

from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome
from k9ops.reports import jobs

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
)
def create_report(
    *,
    report: str,
    params: dict[str, str] | None = None,
    format: str = "pdf",
    requested_by: str | None = None,
    reuse: bool = False,
    skip_if_empty: bool = False,
) -> Outcome:
    """Make a report as PDF, spreadsheet or CSV in the folder of reports.

    Args:
        report: Key of a report.
        params: Its parameters, texts.
        format: `pdf`, `xlsx` or `csv`.
        requested_by: Who asks; None is the requester of the run.
        reuse: Take a finished one if the data have not changed since.
        skip_if_empty: Make no file when there is no row.
    """
    wanted = {"report": report, "params": params, "format": format, "requested_by": requested_by}
    options = {"reuse": reuse, "skip_if_empty": skip_if_empty}
    return jobs.create(get_settings(), get_engine(), execution=current_execution(), **wanted, **options)  # type: ignore[arg-type]


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
