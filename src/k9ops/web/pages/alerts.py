"""What the watchman has found, and silence for a rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from k9ops.alerts.channels import build_channels
from k9ops.alerts.listing import list_incidents
from k9ops.alerts.muting import EVERYTHING, mute_rule
from k9ops.alerts.rules import RULES
from k9ops.alerts.store import read_mutes
from k9ops.db.engine import database_errors
from k9ops.errors import ParamsInvalid
from k9ops.web.visit import Visit

_SHOWN_DAYS = 7
_MOST = 200
#: How long a rule can be muted here, in hours.
MUTE_HOURS = (1, 8, 24, 168)


def show_alerts(visit: Visit) -> Response:
    """Show what is wrong, what was wrong lately, and what is muted."""
    desk, now = visit.desk, datetime.now(UTC)
    with database_errors(), desk.engine.begin() as connection:
        incidents = list_incidents(connection, closed_since=now - timedelta(days=_SHOWN_DAYS), limit=_MOST)
        mutes = read_mutes(connection, now=now)
    return visit.render(
        "alerts.html",
        lasting=[item for item in incidents if item.closed_at is None],
        over=[item for item in incidents if item.closed_at is not None],
        mutes=mutes,
        titles={rule.name: rule.title for rule in RULES},
        everything=EVERYTHING,
        hours=MUTE_HOURS,
        channels=sorted(build_channels(desk.settings, desk.engine)),
    )


def mute(visit: Visit) -> Response:
    """Hear nothing of a rule, or of one subject of it, for a while."""
    hours = visit.form.get("hours", "")
    if hours not in map(str, MUTE_HOURS):
        raise ParamsInvalid(visit.speech.say("Say for how long."))
    _mute(visit, hours=float(hours))
    return visit.go("/alerts", done="muted")


def unmute(visit: Visit) -> Response:
    """Hear of it again."""
    _mute(visit, hours=0)
    return visit.go("/alerts", done="unmuted")


def _mute(visit: Visit, *, hours: float) -> None:
    mute_rule(
        visit.desk.engine,
        visit.request.path_params["name"],
        subject=visit.form.get("subject") or None,
        hours=hours,
        muted_by=visit.person,
        origin=visit.origin,
        reason=visit.reason(),
        now=datetime.now(UTC),
    )
