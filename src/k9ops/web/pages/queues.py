"""Queues and the processes that serve them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from k9ops.broker.inspection import find_queue
from k9ops.broker.queue_messages import QueueMessages
from k9ops.errors import BrokerUnavailable
from k9ops.ledger.processes import list_processes
from k9ops.ledger.queue_history import read_queue_history
from k9ops.ledger.queues import pause_queue, read_pauses, resume_queue
from k9ops.ledger.requests import list_runs
from k9ops.ledger.statistics import QueueRuns, summarise_queues
from k9ops.web.health import read_messages
from k9ops.web.pages.queue_charts import BAR_WIDTH, CHART_HEIGHT, CHART_WIDTH, draw_charts
from k9ops.web.visit import Desk, Visit


def show_queues(visit: Visit) -> Response:
    """Show the page."""
    now = datetime.now(UTC)
    charts = draw_charts(read_queue_history(visit.desk.engine, now=now), now=now)
    size = {"width": CHART_WIDTH, "height": CHART_HEIGHT, "bar_width": BAR_WIDTH}
    return visit.render("queues.html", charts=charts, chart_size=size, **gather(visit.desk))


def pause(visit: Visit) -> Response:
    """Let no worker begin another run of a queue."""
    queue, reason = _find(visit), visit.reason()
    pause_queue(visit.desk.engine, queue, paused_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go("/queues", done="queue_paused")


def resume(visit: Visit) -> Response:
    """Let the runs of a queue begin again."""
    queue, reason = _find(visit), visit.reason()
    resume_queue(visit.desk.engine, queue, resumed_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go("/queues", done="queue_resumed")


def gather(desk: Desk) -> dict[str, Any]:
    """Return what the page shows, the same for everybody."""
    runs = summarise_queues(desk.engine)
    try:
        messages = {item.queue: item for item in read_messages(desk)}
    except BrokerUnavailable:
        messages = {}
    pauses = read_pauses(desk.engine)
    names = sorted({*desk.broker.get_declared_queues(), *runs, *pauses})
    processes = list_processes(desk.engine)
    served = {queue for item in processes if not item.is_silent for queue in item.queues}
    return {
        "is_broker_there": bool(messages),
        "queues": [
            (name, messages.get(name, QueueMessages(name, 0, 0, 0, 0)), runs.get(name, QueueRuns(name)), name in served)
            for name in names
        ],
        "pauses": pauses,
        "processes": processes,
        "running": list_runs(desk.engine, states=("running",), limit=100),
    }


def _find(visit: Visit) -> str:
    return find_queue(visit.desk.engine, visit.desk.broker, visit.request.path_params["name"])
