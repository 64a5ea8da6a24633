"""Every actor of the service: `dramatiq k9ops.actors` starts a worker for them.

Importing this module reads the settings, sets up logging in a worker, and installs the broker.
"""

from __future__ import annotations

from k9ops.broker.build import install_broker

broker = install_broker()

from k9ops.actors.backups import (  # noqa: E402 (the broker first)
    apply_retention,
    create_backup,
    upload_backup,
    verify_backup,
)
from k9ops.actors.maintenance import canary, prune_runs, relay_outbox, rescue_runs  # noqa: E402
from k9ops.actors.notifications import clean_notifications  # noqa: E402
from k9ops.actors.reports import create_report, expire_reports  # noqa: E402
from k9ops.actors.schedules import lock_schedules  # noqa: E402

__all__ = [
    "apply_retention",
    "broker",
    "canary",
    "clean_notifications",
    "create_backup",
    "create_report",
    "expire_reports",
    "lock_schedules",
    "prune_runs",
    "relay_outbox",
    "rescue_runs",
    "upload_backup",
    "verify_backup",
]
