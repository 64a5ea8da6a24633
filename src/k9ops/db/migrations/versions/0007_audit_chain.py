"""The audit entries become a chain: each carries the hash of the one before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Of the advisory lock that puts writers in order: "k9opsau" in ASCII, as in `k9ops.db.audit`.
_LOCK_KEY = 0x6B396F70736175

# The form that is hashed: each value as an SQL literal, joined by commas. (With their lengths instead, characters
# would have to be counted, which costs more than the hash.)
_FIELDS = (
    "n::text",
    """to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    "NEW.actor",
    "NEW.origin",
    "NEW.action",
    "NEW.target_type",
    "NEW.target_id",
    "NEW.reason",
    "NEW.before::text",
    "NEW.after::text",
    "NEW.run_id::text",
)
_CANONICAL = " || ',' || ".join(f"quote_nullable({field})" for field in _FIELDS)

_BEGIN = f"""
CREATE FUNCTION k9ops.audit_begin() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE head record;
BEGIN
    PERFORM pg_advisory_xact_lock({_LOCK_KEY});
    SELECT last_id, hash INTO STRICT head FROM k9ops.audit_head;
    PERFORM set_config('k9ops.audit_position', head.last_id || ':' || encode(head.hash, 'hex'), true);
    RETURN NULL;
END $$
"""

# From row to row the position travels in a setting of the transaction: a table would keep a dead row for each.
_LINK = f"""
CREATE FUNCTION k9ops.audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    position text := current_setting('k9ops.audit_position');
    n bigint := split_part(position, ':', 1)::bigint + 1;
    previous bytea := decode(split_part(position, ':', 2), 'hex');
    linked bytea := sha256(previous || convert_to({_CANONICAL}, 'UTF8'));
BEGIN
    NEW.id := n;
    NEW.previous_hash := previous;
    NEW.hash := linked;
    position := set_config('k9ops.audit_position', n || ':' || encode(linked, 'hex'), true);
    RETURN NEW;
END $$
"""

_END = """
CREATE FUNCTION k9ops.audit_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    position text := current_setting('k9ops.audit_position');
    last bigint := split_part(position, ':', 1)::bigint;
    begun text;
BEGIN
    SELECT target_id INTO begun FROM k9ops.audit_event
    WHERE id = last AND action = 'begin_chain' AND target_type = 'audit_chain';
    UPDATE k9ops.audit_head
    SET last_id = last, hash = decode(split_part(position, ':', 2), 'hex'), chain_id = coalesce(begun::uuid, chain_id);
    RETURN NULL;
END $$
"""

_TRIGGERS = """
CREATE TRIGGER audit_1_begin BEFORE INSERT ON k9ops.audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION k9ops.audit_begin();
CREATE TRIGGER audit_2_link BEFORE INSERT ON k9ops.audit_event
    FOR EACH ROW EXECUTE FUNCTION k9ops.audit_link();
CREATE TRIGGER audit_3_end AFTER INSERT ON k9ops.audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION k9ops.audit_end()
"""

# Numbers without gaps from now on, also for the entries that are there: a missing one is a removed one.
_LINK_EXISTING = f"""
DO $$
DECLARE
    entry k9ops.audit_event%ROWTYPE;
    n bigint := 0;
    last bytea := decode(repeat('00', 32), 'hex');
    linked bytea;
BEGIN
    FOR entry IN SELECT * FROM k9ops.audit_event ORDER BY id LOOP
        n := n + 1;
        linked := sha256(last || convert_to({_CANONICAL.replace("NEW.", "entry.")}, 'UTF8'));
        UPDATE k9ops.audit_event SET id = n, previous_hash = last, hash = linked WHERE id = entry.id;
        last := linked;
    END LOOP;
    UPDATE k9ops.audit_head SET last_id = n, hash = last;
END $$
"""


def upgrade() -> None:
    """Link the entries that are there, and let triggers link those that come."""
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("chain_id", sa.Uuid, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("id = 1", name="audit_head_one"),
        schema="k9ops",
    )
    op.execute("INSERT INTO k9ops.audit_head VALUES (1, gen_random_uuid(), 0, decode(repeat('00', 32), 'hex'))")
    op.execute(
        "ALTER TABLE k9ops.audit_event ALTER id DROP IDENTITY, ADD origin text, ADD reason text,"
        " ADD previous_hash bytea, ADD hash bytea,"
        ' ALTER target_type TYPE text COLLATE "C", ALTER target_id TYPE text COLLATE "C"'
    )
    # Locked schedules are many at once, and an index of their random ids would cost more than the chain.
    op.drop_index("audit_event_target", "audit_event", schema="k9ops")
    op.create_index(
        "audit_event_target",
        "audit_event",
        ["target_type", "target_id"],
        schema="k9ops",
        postgresql_where=sa.text("target_type <> 'daily_schedule'"),
    )
    op.execute(_LINK_EXISTING)
    op.execute("ALTER TABLE k9ops.audit_event ALTER previous_hash SET NOT NULL, ALTER hash SET NOT NULL")
    for statement in (_BEGIN, _LINK, _END, *_TRIGGERS.split(";\n")):
        op.execute(statement)
