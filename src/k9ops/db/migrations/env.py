"""Run by Alembic, on the connection that `k9ops.db.migrate` gives it."""

from __future__ import annotations

from alembic import context

from k9ops.db.own_tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
