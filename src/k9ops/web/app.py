"""The dashboard as one ASGI application: every address, its page, and the role it takes."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from k9ops.web import entrance, health
from k9ops.web.accounts import Role
from k9ops.web.gate import Handler, SafeHeaders, guard, show_nothing
from k9ops.web.live import LiveBoards
from k9ops.web.pages import alerts, audit, backups, overview, queues, reports, runs, schedules, selections, uploads
from k9ops.web.visit import Desk

#: Address, method, page, least role; None is before the login.
PAGES: tuple[tuple[str, str, Handler, Role | None], ...] = (
    ("/healthz", "GET", health.show_alive, None),
    ("/readyz", "GET", health.show_ready, None),
    ("/metrics", "GET", health.show_metrics, None),
    ("/login", "GET", entrance.show_login, None),
    ("/login", "POST", entrance.log_in, None),
    ("/logout", "POST", entrance.log_out, "viewer"),
    ("/language", "POST", entrance.choose_language, "viewer"),
    ("/", "GET", overview.show_overview, "viewer"),
    ("/queues", "GET", queues.show_queues, "viewer"),
    ("/queues/{name}/pause", "POST", queues.pause, "operator"),
    ("/queues/{name}/resume", "POST", queues.resume, "operator"),
    ("/alerts", "GET", alerts.show_alerts, "viewer"),
    ("/alerts/{name}/mute", "POST", alerts.mute, "operator"),
    ("/alerts/{name}/unmute", "POST", alerts.unmute, "operator"),
    ("/runs", "GET", runs.show_runs, "viewer"),
    ("/runs/{run_id}", "GET", runs.show_run, "viewer"),
    ("/runs/{run_id}/retry", "POST", runs.retry, "operator"),
    ("/runs/{run_id}/cancel", "POST", runs.cancel, "operator"),
    ("/runs/{run_id}/discard", "POST", runs.discard, "operator"),
    ("/selections/{action}", "GET", selections.show_selection, "operator"),
    ("/selections/{action}", "POST", selections.change, "operator"),
    ("/schedules", "GET", schedules.show_schedules, "viewer"),
    ("/schedules/{name}/pause", "POST", schedules.pause, "operator"),
    ("/schedules/{name}/resume", "POST", schedules.resume, "operator"),
    ("/schedules/{name}/run", "POST", schedules.run_now, "operator"),
    ("/backups", "GET", uploads.show_backups, "viewer"),
    ("/backups", "POST", backups.create, "operator"),
    ("/backups/{backup_id}", "GET", uploads.show_backup, "viewer"),
    ("/backups/{backup_id}/pin", "POST", backups.change_pin, "operator"),
    ("/backups/{backup_id}/verify", "POST", backups.verify, "operator"),
    ("/backups/{backup_id}/upload", "POST", uploads.upload, "operator"),
    ("/backups/{backup_id}/download", "POST", backups.download, "admin"),
    ("/reports", "GET", reports.show_reports, "viewer"),
    ("/reports/new/{key}", "GET", reports.show_report, "operator"),
    ("/reports/new/{key}", "POST", reports.request_report, "operator"),
    ("/reports/{artefact_id}", "GET", reports.hand_out, "operator"),
    ("/audit", "GET", audit.show_audit, "admin"),
)


def build_app(desk: Desk) -> Starlette:
    """Return the application."""
    routes: list[Route | Mount] = [
        Route(path, guard(desk, handler, role=role), methods=[method]) for path, method, handler, role in PAGES
    ]
    routes.append(Route("/live/{board}", LiveBoards(desk).stream, methods=["GET"]))
    routes.append(Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")))
    routes.append(Route("/{path:path}", guard(desk, show_nothing, role=None), methods=["GET"]))
    app = Starlette(routes=routes, middleware=[Middleware(SafeHeaders)])
    app.router.redirect_slashes = False  # such a redirect would repeat whatever host a request names
    return app
