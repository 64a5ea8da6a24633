"""A worker with every job that meets a limit."""

from __future__ import annotations

from tests.chaos import limited_worker, limiting_worker
from tests.chaos.limited_worker import broker

__all__ = ["broker", "limited_worker", "limiting_worker"]
