"""Many runs at once: how many and which they are, then exactly those are retried or discarded."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from starlette.responses import Response

from k9ops.errors import ParamsInvalid, RunNotFound
from k9ops.ledger.browsing import RunFilter
from k9ops.ledger.requests import get_run
from k9ops.ledger.selections import POSSIBLE_STATES, SELECTED_RUNS, Action, Selection, change_selected, select_runs
from k9ops.web.pages.runs import read_filter, read_given
from k9ops.web.visit import Visit

_SHOWN = 50
_ID_BYTES = 16


def show_selection(visit: Visit) -> Response:
    """Show which runs an action would change."""
    action, wanted = _find_action(visit), read_filter(read_given(visit))
    selection = select_runs(visit.desk.engine, action, wanted)
    return visit.render(
        "selection.html",
        selection=selection,
        fields=wanted.to_dict(),
        ids=base64.urlsafe_b64encode(b"".join(run_id.bytes for run_id in selection.run_ids)).decode(),
        runs=[get_run(visit.desk.engine, run_id) for run_id in selection.run_ids[:_SHOWN]],
        done=None,
    )


def change(visit: Visit) -> Response:
    """Change the runs that were shown."""
    selection, reason = _read_selection(visit), visit.reason()
    done = change_selected(visit.desk.engine, selection, requested_by=visit.person, origin=visit.origin, reason=reason)
    runs = [get_run(visit.desk.engine, run_id) for run_id in done[:_SHOWN]]
    fields = selection.wanted.to_dict()
    return visit.render("selection.html", selection=selection, fields=fields, ids="", runs=runs, done=len(done))


def _find_action(visit: Visit) -> Action:
    action = visit.request.path_params["action"]
    if action not in POSSIBLE_STATES:
        raise RunNotFound(visit.speech.say("There is no such page."))
    return cast(Action, action)


def _read_selection(visit: Visit) -> Selection:
    action, form = _find_action(visit), visit.form
    try:
        packed = base64.b64decode(form.get("ids", ""), altchars=b"-_", validate=True)
        cut = [packed[start : start + _ID_BYTES] for start in range(0, len(packed), _ID_BYTES)]
        run_ids = tuple(uuid.UUID(bytes=item) for item in cut[:SELECTED_RUNS])
        seen_at = _read_moment(form["seen_at"])
        wanted = _read_fields(form)
    except (binascii.Error, ValueError, KeyError):
        message = visit.speech.say("This form is out of date: go back, reload the page and try again.")
        raise ParamsInvalid(message) from None
    return Selection(action, wanted, seen_at, run_ids, len(run_ids))


def _read_fields(form: Mapping[str, str]) -> RunFilter:
    return RunFilter(
        job=form.get("job") or None,
        queue=form.get("queue") or None,
        state=form.get("state") or None,
        since=_read_moment(form["since"]) if form.get("since") else None,
        words=form.get("words") or None,
    )


def _read_moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
