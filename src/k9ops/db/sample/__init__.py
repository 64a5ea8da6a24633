"""Realistic sample data for the application's tables."""

from __future__ import annotations

from k9ops.db.sample.seeding import seed

__all__ = ["seed"]
