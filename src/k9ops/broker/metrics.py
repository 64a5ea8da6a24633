"""Prometheus metrics of a worker: Dramatiq's own middleware, with its files and its address under control."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import dramatiq

from k9ops.config.settings import Settings, get_settings

_FOLDER_PREFIX = "k9ops-metrics-"


def build_metrics(settings: Settings) -> list[dramatiq.Middleware]:
    """Return the middleware for metrics, none when they are switched off."""
    if not settings.metrics_port:
        return []
    configure_prometheus(settings)
    from dramatiq.middleware.prometheus import Prometheus

    class WorkerMetrics(Prometheus):
        """Dramatiq's metrics, offered by a process that knows k9ops' settings."""

        forks = [serve_metrics]  # noqa: RUF012 (a property in Dramatiq)

    return [WorkerMetrics()]


def serve_metrics() -> int:
    """Offer the metrics of one worker until it ends; Dramatiq starts this as a process of its own."""
    configure_prometheus(get_settings())
    from dramatiq.middleware.prometheus import _run_exposition_server

    return int(_run_exposition_server())  # type: ignore[no-untyped-call]


def configure_prometheus(settings: Settings) -> None:
    """Say where the metrics go, before Dramatiq's module is imported: it reads the environment then.

    All processes of one worker share a folder named after their common parent. Dramatiq never removes its files.
    """
    remove_dead_folders(Path(tempfile.gettempdir()))
    folder = Path(tempfile.gettempdir()) / f"{_FOLDER_PREFIX}{os.getppid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["dramatiq_prom_db"] = str(folder)  # noqa: SIM112 (Dramatiq's own spelling)
    os.environ["dramatiq_prom_host"] = settings.metrics_host  # noqa: SIM112
    os.environ["dramatiq_prom_port"] = str(settings.metrics_port)  # noqa: SIM112


def remove_dead_folders(parent: Path) -> None:
    """Remove the folders of workers that are gone."""
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX)
        if pid.isdigit() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
