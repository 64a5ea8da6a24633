"""Accounts, sessions and failed logins of the dashboard, and an index for pages of a job's runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables `web_account`, `web_session` and `web_login_failure`, and indexes of `run`."""
    op.create_table(
        "web_account",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False, server_default="ar"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="web_account_role_known"),
        sa.CheckConstraint("language IN ('ar', 'en')", name="web_account_language_known"),
        schema="k9ops",
    )
    op.create_table(
        "web_session",
        sa.Column("token_sha256", sa.LargeBinary, primary_key=True),
        sa.Column(
            "account",
            sa.Text,
            sa.ForeignKey("k9ops.web_account.name", name="web_session_account", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("csrf", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Index("web_session_account_index", "account"),
        schema="k9ops",
    )
    op.create_table(
        "web_login_failure",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Index("web_login_failure_at", "at"),
        schema="k9ops",
    )
    op.create_index("run_job_created", "run", ["job", "created_at", "id"], schema="k9ops")
    op.create_index("run_job_state_created", "run", ["job", "state", "created_at", "id"], schema="k9ops")
    op.create_index("run_state_created", "run", ["state", "created_at", "id"], schema="k9ops")
