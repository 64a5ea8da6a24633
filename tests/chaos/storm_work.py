"""The worker of a long storm: beside the jobs that count, those of the product, which are soon tried again."""

from __future__ import annotations

from tests.chaos.storm_jobs import broker

from k9ops.actors.backups import apply_retention, create_backup, verify_backup
from k9ops.actors.reports import create_report, expire_reports

__all__ = ["broker"]

for actor in (create_backup, verify_backup, apply_retention, create_report, expire_reports):
    actor.options |= {"max_retries": 1_000, "min_backoff": 100, "max_backoff": 1_000}
