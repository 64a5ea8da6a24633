"""Reports that the timetable makes and delivers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create table `report_subscription`."""
    op.create_table(
        "report_subscription",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("params", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("recipients", JSONB, nullable=False),
        sa.Column("skip_if_empty", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="k9ops",
    )
