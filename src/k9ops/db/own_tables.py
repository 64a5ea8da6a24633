"""k9ops' own tables, in PostgreSQL schema `k9ops`. The migrations make them; a test compares both."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "k9ops"

metadata = MetaData(schema=SCHEMA)

RUN_STATES = (
    "queued",
    "running",
    "retrying",
    "succeeded",
    "partial",
    "skipped",
    "failed",
    "cancelled",
    "expired",
)

run = Table(
    "run",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("trigger", Text, nullable=False),
    Column("requested_by", Text),
    Column("parent_id", Uuid),
    Column("slot", DateTime(timezone=True)),
    Column("path", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("sent_at", DateTime(timezone=True)),
    Column("sends", Integer, nullable=False, server_default="0"),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("lease_owner", Text),
    Column("lease_expires_at", DateTime(timezone=True)),
    Column("cancel_requested_at", DateTime(timezone=True)),
    Column("progress", JSONB),
    Column("message", Text),
    Column("evidence", JSONB),
    Column("error_class", Text),
    Column("traceback", Text),
    Column("history", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("log", JSONB),
    CheckConstraint(
        "state IN ('queued', 'running', 'retrying', 'succeeded', 'partial', 'skipped', 'failed', 'cancelled',"
        " 'expired')",
        name="run_state_known",
    ),
    CheckConstraint("path IN ('worker', 'inline')", name="run_path_known"),
    CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="run_leased_while_running"),
    CheckConstraint("state NOT IN ('succeeded', 'partial') OR evidence IS NOT NULL", name="run_success_has_evidence"),
    Index("run_job_slot_key", "job", "slot", unique=True, postgresql_where=text("slot IS NOT NULL")),
    Index("run_open_due", "due_at", postgresql_where=text("state IN ('queued', 'retrying')")),
    Index("run_lease", "lease_expires_at", postgresql_where=text("state = 'running'")),
    Index("run_created", "created_at", "id"),
    Index("run_job_finished", "job", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("run_job_created", "job", "created_at", "id"),
    Index("run_job_state_created", "job", "state", "created_at", "id"),
    Index("run_state_created", "state", "created_at", "id"),
    Index("run_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
)
"""One row a run: what was asked for, by whom, and how it ended.

`id` is the Dramatiq message's id. `trigger` is `send`, `enqueue`, `schedule`, `cli`, `retry` or `follow_up`.
`history` lists the attempts that did not end the run: attempt, worker, started_at, ended_at, outcome, error_class,
message. `progress` is {done, total, unit}. A person has looked after a run that went wrong at `acknowledged_at`.
`log` has its last log lines.
"""

audit_event = Table(
    "audit_event",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target_type", Text(collation="C"), nullable=False),
    Column("target_id", Text(collation="C"), nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("run_id", Uuid),
    Column("origin", Text),
    Column("reason", Text),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(
        "audit_event_target",
        "target_type",
        "target_id",
        postgresql_where=text("target_type <> 'daily_schedule'"),
    ),
)
"""One row for each thing that a job or a person changed: who, from where, what, why, and how it was before and after.

Triggers of the table give each row its number and link it to the one before; writers leave `id` and both hashes out.
"""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("chain_id", Uuid, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="audit_head_one"),
)
"""One row: the number and hash of the newest audit entry, and which chain it is of; a restored copy begins another."""

schedule = Table(
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("dispatched_until", DateTime(timezone=True), nullable=False),
    Column("last_slot", DateTime(timezone=True)),
    Column("missed", BigInteger, nullable=False, server_default="0"),
    Column("last_missed_slot", DateTime(timezone=True)),
    Column("paused_at", DateTime(timezone=True)),
    Column("paused_by", Text),
    CheckConstraint("(paused_at IS NULL) = (paused_by IS NULL)", name="schedule_paused_by_somebody"),
)
"""One row for each schedule of the timetable: its slots up to `dispatched_until` have been decided, once and for all.

`missed` counts the slots that were decided against, `last_missed_slot` is the newest of them.
"""

queue_pause = Table(
    "queue_pause",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("paused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("paused_by", Text, nullable=False),
    Column("reason", Text),
)
"""One row for each queue of which no worker begins a run."""

queue_sample = Table(
    "queue_sample",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("waiting", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)
"""Four rows an hour for each queue where something happened, and one of no queue; kept for a day.

`done` and `failed` are of the time since the samples before.
"""

process = Table(
    "process",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("threads", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("silent_after_s", Integer, nullable=False),
    CheckConstraint("kind IN ('worker', 'scheduler')", name="process_kind_known"),
)
"""One row for each worker and scheduler that reports; `name` is the first part of its runs' `lease_owner`."""

drive_credential = Table(
    "drive_credential",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sealed", Text, nullable=False),
    Column("account", Text),
    Column("sealed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="drive_credential_one"),
)
"""At most one row: the tokens for Google Drive, sealed with `K9OPS_SECRET_KEY`."""

drive_folder = Table(
    "drive_folder",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("folder_id", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="drive_folder_one"),
)
"""At most one row: Drive's id of the folder that k9ops found or made, where none is chosen."""

report_subscription = Table(
    "report_subscription",
    metadata,
    Column("name", Text, primary_key=True),
    Column("report", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("format", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("recipients", JSONB, nullable=False),
    Column("skip_if_empty", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
"""One row for each report that is made by the timetable. `params` are texts, `recipients` a list of texts."""

incident = Table(
    "incident",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("told_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    Index("incident_open_key", "rule", "subject", unique=True, postgresql_where=text("closed_at IS NULL")),
)
"""One row for each thing that went wrong; `told_at` is when people were last told of it."""

alert_message = Table(
    "alert_message",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("incident_id", BigInteger),
    Column("content", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("given_up_at", DateTime(timezone=True)),
    Column("problem", Text),
    Index("alert_message_open", "due_at", postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL")),
)
"""The outbox of alerts: one row for each message and channel, written together with what became of the incident."""

alert_mute = Table(
    "alert_mute",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("muted_by", Text, nullable=False),
    Column("reason", Text),
)
"""One row for each time that somebody wanted to hear nothing of a rule (`*` is all), or of one subject of it."""

watchman = Table(
    "watchman",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("round_at", DateTime(timezone=True), nullable=False),
    Column("pinged_until", DateTime(timezone=True), nullable=False),
    Column("drive", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    CheckConstraint("id = 1", name="watchman_one"),
)
"""At most one row: who went the last round, when, up to which moment runs were pinged, what Drive said."""

web_account = Table(
    "web_account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("language", Text, nullable=False, server_default="ar"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="web_account_role_known"),
    CheckConstraint("language IN ('ar', 'en')", name="web_account_language_known"),
)
"""One row for each person who may enter the dashboard."""

web_session = Table(
    "web_session",
    metadata,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column(
        "account",
        Text,
        ForeignKey("k9ops.web_account.name", name="web_session_account", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("csrf", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("web_session_account_index", "account"),
)
"""One row for each browser that has entered; the cookie's token is kept as its digest only."""

web_key = Table(
    "web_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="web_key_one"),
)
"""At most one row: what signs cookies where `K9OPS_SECRET_KEY` is not set. It opens nothing without a token."""

web_login_failure = Table(
    "web_login_failure",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("web_login_failure_at", "at"),
)
"""Attempts to enter that failed lately; they throttle the next ones."""
