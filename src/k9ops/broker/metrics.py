"""Prometheus metrics of a worker: Dramatiq's own middleware, with its files and its address under control."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import dramatiq

from k9ops.config.settings import Settings

_FOLDER_PREFIX = "k9ops-metrics-"


def build_metrics(settings: Settings) -> list[dramatiq.Middleware]:
    """Return the middleware for metrics, none when they are switched off.

    Dramatiq's middleware takes its address and folder from the environment when it is imported, and never removes
    its files. All processes of one worker share a folder named after their common parent.
    """
    if not settings.metrics_port:
        return []
    remove_dead_folders(Path(tempfile.gettempdir()))
    folder = Path(tempfile.gettempdir()) / f"{_FOLDER_PREFIX}{os.getppid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["dramatiq_prom_db"] = str(folder)  # noqa: SIM112 (Dramatiq's own spelling)
    os.environ["dramatiq_prom_host"] = settings.metrics_host  # noqa: SIM112
    os.environ["dramatiq_prom_port"] = str(settings.metrics_port)  # noqa: SIM112
    from dramatiq.middleware.prometheus import Prometheus

    return [Prometheus()]


def remove_dead_folders(parent: Path) -> None:
    """Remove the folders of workers that are gone."""
    for folder in parent.glob(f"{_FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(_FOLDER_PREFIX)
        if pid.isdigit() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
