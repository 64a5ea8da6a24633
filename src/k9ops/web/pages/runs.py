"""Runs: a list that is filtered and paged, one run, and what a person may ask of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from k9ops.broker.jobs import hide_private_params
from k9ops.db.own_tables import RUN_STATES
from k9ops.errors import ParamsInvalid, RunNotFound
from k9ops.ledger.browsing import RunFilter, read_run_page
from k9ops.ledger.chain import read_chain
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run, request_cancel, request_retry
from k9ops.ledger.run_log import read_log
from k9ops.ledger.selections import POSSIBLE_STATES, change_selected, select_run
from k9ops.web.facts import describe_facts, read_moment
from k9ops.web.visit import Visit

ENDED_WRONG = frozenset({"failed", "expired", "partial"})

_PERIODS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


def show_runs(visit: Visit) -> Response:
    """Show a page of runs."""
    query, given = visit.request.query_params, read_given(visit)
    wanted = read_filter(given)
    page = read_run_page(visit.desk.engine, wanted, before=_read_place(visit, query.get("before")))
    following = None
    if page.next_before is not None:
        place = f"{page.next_before[0].isoformat()}_{page.next_before[1]}"
        following = "/runs?" + urlencode({name: value for name, value in given.items() if value} | {"before": place})
    return visit.render(
        "runs.html",
        page=page,
        following=following,
        given=given,
        is_first="before" not in query,
        chosen=urlencode({name: value for name, value in given.items() if value}),
        jobs=sorted(visit.desk.broker.get_declared_actors()),
        queues=sorted(visit.desk.broker.get_declared_queues()),
        states=RUN_STATES,
        periods=tuple(_PERIODS),
    )


def show_run(visit: Visit) -> Response:
    """Show one run."""
    engine, run = visit.desk.engine, _find(visit)
    chain = read_chain(engine, run.id)
    return visit.render(
        "run.html",
        run=run,
        params=describe_facts(hide_private_params(visit.desk.broker, run).params, visit.speech),
        evidence=describe_facts(run.evidence or {}, visit.speech),
        attempts=[item | {"ended_at": read_moment(item.get("ended_at"))} for item in run.history],
        log=[_to_log_line(line) for line in read_log(engine, run.id)],
        chain=chain if len(chain) > 1 else [],
        can_retry=run.state in POSSIBLE_STATES["retry"],
        can_discard=run.state in ENDED_WRONG and run.acknowledged_at is None,
    )


def retry(visit: Visit) -> Response:
    """Put a run back in the queue."""
    run, reason = _find(visit), visit.reason()
    request_retry(visit.desk.engine, run.id, requested_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go(f"/runs/{run.id}", done="retried")


def discard(visit: Visit) -> Response:
    """Say that a run that went wrong is looked after."""
    engine, run, reason = visit.desk.engine, _find(visit), visit.reason()
    selection = select_run(engine, "discard", run)
    change_selected(engine, selection, requested_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go(f"/runs/{run.id}", done="discarded")


def cancel(visit: Visit) -> Response:
    """Cancel a run, or ask its worker to stop."""
    run, reason = _find(visit), visit.reason()
    request_cancel(visit.desk.engine, run.id, requested_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go(f"/runs/{run.id}", done="cancelled")


def read_given(visit: Visit) -> dict[str, str]:
    """Return the filter as the address has it."""
    query, names = visit.request.query_params, ("job", "queue", "state", "period", "words")
    return {name: query.get(name, "").replace("\x00", "").strip() for name in names}


def read_filter(given: Mapping[str, str]) -> RunFilter:
    """Return the filter that an address means."""
    return RunFilter(
        job=given["job"] or None,
        queue=given["queue"] or None,
        state=given["state"] or None,
        since=datetime.now(UTC) - _PERIODS[given["period"]] if given["period"] in _PERIODS else None,
        words=given["words"][:200] or None,
    )


def _find(visit: Visit) -> Run:
    text = visit.request.path_params["run_id"]
    try:
        return get_run(visit.desk.engine, uuid.UUID(text))
    except ValueError:
        raise RunNotFound(visit.speech.say("There is no such run.")) from None


def _read_place(visit: Visit, text: str | None) -> tuple[datetime, uuid.UUID] | None:
    if not text:
        return None
    moment, _, run_id = text.partition("_")
    try:
        at, identity = datetime.fromisoformat(moment), uuid.UUID(run_id)
    except ValueError:
        raise ParamsInvalid(visit.speech.say("There is no such page.")) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)), identity


def _to_log_line(line: Mapping[str, Any]) -> dict[str, Any]:
    head = {"at": read_moment(line.get("at"))} | {name: line.get(name, "") for name in ("level", "event", "attempt")}
    fields = [f"{name}={value}" for name, value in line.items() if name not in head]
    return head | {"fields": " ".join(fields)}
