"""How far each schedule of the timetable has been dispatched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create table `schedule`."""
    op.create_table(
        "schedule",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("dispatched_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_slot", sa.DateTime(timezone=True)),
        sa.Column("missed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_missed_slot", sa.DateTime(timezone=True)),
        sa.Column("paused_at", sa.DateTime(timezone=True)),
        sa.Column("paused_by", sa.Text),
        sa.CheckConstraint("(paused_at IS NULL) = (paused_by IS NULL)", name="schedule_paused_by_somebody"),
        schema="k9ops",
    )
