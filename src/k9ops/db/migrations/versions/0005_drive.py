"""Sealed credentials for Google Drive, and the folder there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables `drive_credential` and `drive_folder`."""
    op.create_table(
        "drive_credential",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("id = 1", name="drive_credential_one"),
        schema="k9ops",
    )
    op.create_table(
        "drive_folder",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("folder_id", sa.Text, nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("id = 1", name="drive_folder_one"),
        schema="k9ops",
    )
