"""The run ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create table `run`."""
    now = sa.func.now()
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("params", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("state", sa.Text, nullable=False, server_default="queued"),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text),
        sa.Column("parent_id", sa.Uuid),
        sa.Column("slot", sa.DateTime(timezone=True)),
        sa.Column("path", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("sends", sa.Integer, nullable=False, server_default="0"),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True)),
        sa.Column("progress", JSONB),
        sa.Column("message", sa.Text),
        sa.Column("evidence", JSONB),
        sa.Column("error_class", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("history", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'retrying', 'succeeded', 'partial', 'skipped', 'failed',"
            " 'cancelled', 'expired')",
            name="run_state_known",
        ),
        sa.CheckConstraint("path IN ('worker', 'inline')", name="run_path_known"),
        sa.CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="run_leased_while_running"),
        sa.CheckConstraint(
            "state NOT IN ('succeeded', 'partial') OR evidence IS NOT NULL", name="run_success_has_evidence"
        ),
        schema="k9ops",
    )
    for name, columns, condition, unique in (
        ("run_job_slot_key", ["job", "slot"], "slot IS NOT NULL", True),
        ("run_open_due", ["due_at"], "state IN ('queued', 'retrying')", False),
        ("run_lease", ["lease_expires_at"], "state = 'running'", False),
        ("run_created", ["created_at", "id"], None, False),
        ("run_parent", ["parent_id"], "parent_id IS NOT NULL", False),
    ):
        where = sa.text(condition) if condition else None
        op.create_index(name, "run", columns, unique=unique, schema="k9ops", postgresql_where=where)
