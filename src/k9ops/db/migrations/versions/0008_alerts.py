"""Incidents, the messages that tell them, mutes, and the watchman's rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables `incident`, `alert_message`, `alert_mute` and `watchman`, and the index that each round reads."""
    op.create_index(
        "run_job_finished",
        "run",
        ["job", "finished_at"],
        schema="k9ops",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        schema="k9ops",
    )
    op.create_index(
        "incident_open_key",
        "incident",
        ["rule", "subject"],
        unique=True,
        schema="k9ops",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "alert_message",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("incident_id", sa.BigInteger),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("given_up_at", sa.DateTime(timezone=True)),
        sa.Column("problem", sa.Text),
        schema="k9ops",
    )
    op.create_index(
        "alert_message_open",
        "alert_message",
        ["due_at"],
        schema="k9ops",
        postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_table(
        "alert_mute",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("muted_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        schema="k9ops",
    )
    op.create_table(
        "watchman",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("round_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pinged_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drive", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.CheckConstraint("id = 1", name="watchman_one"),
        schema="k9ops",
    )
