"""A database backup, without any queue: dump, manifest, verification, retention, restore."""
