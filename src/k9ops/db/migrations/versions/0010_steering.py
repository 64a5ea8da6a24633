"""What people steer, and see when they do: paused queues, acknowledged runs, log lines of runs, samples of queues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables `queue_pause` and `queue_sample`, and columns of `run`."""
    op.create_table(
        "queue_pause",
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("paused_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        schema="k9ops",
    )
    op.create_table(
        "queue_sample",
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("waiting", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        schema="k9ops",
    )
    op.add_column("run", sa.Column("acknowledged_at", sa.DateTime(timezone=True)), schema="k9ops")
    op.add_column("run", sa.Column("log", postgresql.JSONB), schema="k9ops")
