"""Where the jobs of a storm count; apart from these, so that a test need not import actors, which install a broker."""

from __future__ import annotations

QUEUE = "storm"
CHILDREN = 3
EPOCH = "K9OPS_STORM_EPOCH"  # when the machine's monotonic clock was 0, for workers whose clock jumps

DDL = """
    CREATE SCHEMA storm;
    CREATE TABLE storm.execution (
        owner text PRIMARY KEY, run_id uuid NOT NULL, began_at timestamptz NOT NULL, checked_at timestamptz);
    CREATE TABLE storm.effect (run_id uuid PRIMARY KEY, owner text NOT NULL);
    CREATE TABLE storm.jump (at timestamptz NOT NULL);
"""
