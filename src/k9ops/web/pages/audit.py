"""The audit: who changed what, from where, and why."""

from __future__ import annotations

from starlette.responses import Response

from k9ops.db.audit import list_events
from k9ops.db.engine import database_errors
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
    return visit.render("audit.html", events=events, given=given, following=following)
