"""Migrations of k9ops' own tables; `k9ops.db.migrate` runs them."""
