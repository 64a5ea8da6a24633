"""The audit: who changed what, from where, and why."""

from __future__ import annotations

from starlette.responses import Response

from k9ops.db.audit import RecordedEvent, list_events
from k9ops.db.engine import database_errors
from k9ops.web.facts import Fact, describe_facts
from k9ops.web.visit import Visit

_PAGE = 50


def show_audit(visit: Visit) -> Response:
    """Show a page of entries, newest first."""
    query = visit.request.query_params
    text = query.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    given = {name: query.get(name, "").replace("\x00", "").strip()[:200] for name in ("actor", "action")}
    with database_errors(), visit.desk.engine.begin() as connection:
        events = list_events(
            connection,
            actor=given["actor"] or None,
            action=given["action"] or None,
            before_id=before,
            limit=_PAGE,
        )
    following = events[-1].id if len(events) == _PAGE else None
    rows = [(event, _describe_change(event, visit)) for event in events]
    return visit.render("audit.html", rows=rows, given=given, following=following)


def _describe_change(event: RecordedEvent, visit: Visit) -> tuple[Fact, ...]:
    """Return how it was and how it is, where the entry says so."""
    sides = {"before": event.before, "after": event.after}
    return describe_facts({name: dict(side) for name, side in sides.items() if side}, visit.speech)
