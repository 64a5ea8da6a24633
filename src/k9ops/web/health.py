"""For machines: alive, ready, and figures for Prometheus."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from starlette.responses import JSONResponse, PlainTextResponse, Response

from k9ops.backups.catalogue import list_backups
from k9ops.broker.build import build_broker
from k9ops.broker.inspection import count_messages
from k9ops.broker.queue_messages import QueueMessages
from k9ops.db.engine import database_errors
from k9ops.errors import K9opsError
from k9ops.ledger.processes import list_processes
from k9ops.ledger.queues import read_pauses
from k9ops.ledger.statistics import QueueRuns, summarise_queues
from k9ops.web.visit import Desk, Visit

_OUTCOMES = text("""
    SELECT job, state, count(*), coalesce(sum(extract(epoch FROM finished_at - started_at)), 0),
        max(extract(epoch FROM started_at - slot))
    FROM k9ops.run WHERE created_at >= now() - interval '1 day' AND state NOT IN ('queued', 'running', 'retrying')
    GROUP BY job, state
""")
_RESCUES = text("SELECT coalesce(sum(deaths), 0) FROM k9ops.run WHERE created_at >= now() - interval '1 day'")


def show_alive(visit: Visit) -> Response:
    """Say that this process answers."""
    return PlainTextResponse("ok\n")


def show_ready(visit: Visit) -> Response:
    """Say whether database and broker answer and every queue has a worker."""
    desk, problems = visit.desk, {}
    try:
        served = {queue for item in list_processes(desk.engine) if not item.is_silent for queue in item.queues}
        alone = sorted(desk.broker.get_declared_queues() - served)
        if alone:
            problems["workers"] = f"no worker for {', '.join(alone)}"
    except K9opsError:
        problems["database"] = "PostgreSQL does not answer"
    try:
        read_messages(desk)
    except K9opsError as exc:
        problems["broker"] = exc.user_message.rstrip(".")
    return JSONResponse({"ready": not problems, "problems": problems}, status_code=503 if problems else 200)


def show_metrics(visit: Visit) -> Response:
    """Give figures to who has the token."""
    token = visit.desk.settings.web_metrics_token.get_secret_value()
    if not token:
        return PlainTextResponse("Not found.\n", status_code=404)
    given = visit.request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return PlainTextResponse("The token is wrong.\n", status_code=401)
    registry = CollectorRegistry()
    registry.register(_Figures(visit.desk))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def read_messages(desk: Desk) -> list[QueueMessages]:
    """Count the messages of every queue that a job has.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    broker = build_broker(desk.settings)
    try:
        return count_messages(broker, sorted(desk.broker.get_declared_queues()))
    finally:
        broker.close()


class _Figures(Collector):
    """What the ledger and Redis say at this moment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """Return the figures."""
        desk = self._desk
        messages = GaugeMetricFamily("k9ops_queue_messages", "Messages of the broker.", labels=["queue", "kind"])
        try:
            for item in read_messages(desk):
                for kind in ("waiting", "delayed", "fetched", "dead"):
                    if getattr(item, kind) is not None:
                        messages.add_metric([item.queue, kind], getattr(item, kind))
            yield messages
        except K9opsError:
            yield GaugeMetricFamily("k9ops_broker_up", "Whether the broker answers.", value=0)
        else:
            yield GaugeMetricFamily("k9ops_broker_up", "Whether the broker answers.", value=1)
        runs = GaugeMetricFamily("k9ops_queue_runs", "Open runs in the ledger.", labels=["queue", "kind"])
        oldest = GaugeMetricFamily("k9ops_queue_oldest_due_seconds", "Wait of the oldest due run.", labels=["queue"])
        found = summarise_queues(desk.engine)
        # A queue without runs has figures too: what scales workers by them must not find nothing.
        for queue in sorted({*desk.broker.get_declared_queues(), *found}):
            counts = found.get(queue, QueueRuns(queue))
            for kind in ("due", "later", "retrying", "running"):
                runs.add_metric([queue, kind], getattr(counts, kind))
            oldest.add_metric([queue], counts.oldest_due_s or 0)
        paused = GaugeMetricFamily("k9ops_queue_paused", "1 while a person has paused it.", labels=["queue"])
        pauses = read_pauses(desk.engine)
        for queue in sorted({*desk.broker.get_declared_queues(), *pauses}):
            paused.add_metric([queue], float(queue in pauses))
        yield from (runs, oldest, paused)
        yield from self._collect_outcomes()
        verified = [
            item for item in list_backups(desk.settings.backup_dir).backups if item.verification_state == "verified"
        ]
        if verified:
            age_s = (datetime.now(UTC) - verified[0].created_at).total_seconds()
            yield GaugeMetricFamily("k9ops_verified_backup_age_seconds", "Age of the newest.", value=age_s)

    def _collect_outcomes(self) -> Iterator[Metric]:
        ended = GaugeMetricFamily("k9ops_runs_ended_1d", "Runs of the last day that ended.", labels=["job", "state"])
        spent = GaugeMetricFamily("k9ops_runs_seconds_1d", "Time that they took.", labels=["job", "state"])
        late = GaugeMetricFamily("k9ops_slot_lateness_seconds_1d", "Latest start after a slot.", labels=["job"])
        lateness: dict[str, float] = {}
        with database_errors(), self._desk.engine.begin() as connection:
            for job, state, count, duration_s, late_s in connection.execute(_OUTCOMES):
                ended.add_metric([job, state], count)
                spent.add_metric([job, state], float(duration_s))
                if late_s is not None:
                    lateness[job] = max(lateness.get(job, 0.0), float(late_s))
            rescues = connection.execute(_RESCUES).scalar_one()
        for job, late_s in lateness.items():
            late.add_metric([job], late_s)
        yield from (ended, spent, late)
        yield GaugeMetricFamily("k9ops_lease_rescues_1d", "Runs taken from dead workers.", value=float(rescues))
