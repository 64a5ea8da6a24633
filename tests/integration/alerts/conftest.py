"""A ledger under a controlled clock, and a real HTTP server on loopback that takes what is sent."""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine, text

from k9ops.alerts.rounds import go_round
from k9ops.alerts.situation import DriveFacts, Room
from k9ops.config.settings import Settings, load_settings
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.embedded.places import temporary_folder
from k9ops.embedded.postgres import PostgresServer

QUEUES = ["k9_tasks", "schedules", "backups", "reports", "notifications"]
# A Thursday, 12:00 in Riyadh.
NOON = datetime(2026, 6, 4, 9, 0, tzinfo=UTC)
ADMIN, FORMER_ADMIN, HANDLER = (uuid.UUID(int=number) for number in (1, 2, 3))

_CHANGED = ("run", "schedule", "process", "incident", "alert_message", "alert_mute", "watchman", "queue_pause")


class Receiver:
    """What arrived at the web addresses, and whether they answer."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.status: dict[str, int] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                name = self.path.split("/")[1]
                status = receiver.status.get(name, 200)
                if status == 200:
                    document = json.loads(body) if name != "ping" else body.decode()
                    receiver.received.append((self.path, document))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def at(self, name: str) -> list[Any]:
        """What arrived under a path."""
        return [document for path, document in self.received if path.split("/")[1] == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class Stage:
    """The service as its tables show it; a test plays what happens and lets time pass."""

    def __init__(self, engine: Engine, settings: Settings, receiver: Receiver) -> None:
        self.engine = engine
        self.receiver = receiver
        self.settings = settings.model_copy(
            update={
                "watch_interval_s": 30,
                "alert_webhook_url": SecretStr(f"{receiver.url}/webhook"),
                "alert_slack_url": SecretStr(f"{receiver.url}/slack/T0/B0"),
                "alert_telegram_token": SecretStr("12:secret"),
                "alert_telegram_chat": "-100",
                "alert_telegram_api_url": f"{receiver.url}/",
                "alert_notify_admins": True,
            }
        )
        self.now = NOON
        self.alive = {"worker", "backups", "scheduler"}
        self.drive = DriveFacts(room=Room(50 * 10**9, 100 * 10**9))

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), {"now": self.now, **values})

    def set_up(self) -> None:
        """A week of an ordinary life: every night a backup, its verification and the lock."""
        for days in range(7, 0, -1):
            night = NOON.replace(hour=23) - timedelta(days=days)
            self.ended("create_backup", night, duration_s=60, evidence={"size_bytes": 1_000_000 + days})
            self.ended(
                "verify_backup", night + timedelta(minutes=2), duration_s=90, evidence={"rows": 5}, is_slot=False
            )
            self.ended("lock_schedules", NOON - timedelta(days=days), duration_s=1, evidence={"locked": 12})
        self.sql(
            "INSERT INTO k9ops.schedule (name, dispatched_until, last_slot) VALUES"
            " ('create_backup', :now, :slot), ('lock_schedules', :now, :slot), ('canary', :now, :slot)",
            slot=NOON.replace(hour=23) - timedelta(days=1),
        )
        self.round()

    def ended(
        self,
        job: str,
        at: datetime | None = None,
        *,
        state: str = "succeeded",
        duration_s: float = 60,
        late_s: float = 0,
        evidence: dict[str, Any] | None = None,
        is_slot: bool = True,
        message: str = "Done.",
        params: dict[str, Any] | None = None,
    ) -> None:
        """Record a run that ended at a moment; its slot is the moment at which it should have begun."""
        at = at or self.now
        started = at - timedelta(seconds=duration_s)
        document = evidence if evidence is not None else {"ok": True}
        self.sql(
            "INSERT INTO k9ops.run (id, job, queue, trigger, slot, state, created_at, due_at, started_at, finished_at,"
            " message, evidence, params) VALUES (gen_random_uuid(), :job, 'backups', 'schedule', :slot, :state,"
            " :started, :started, :started, :at, :message, CAST(:evidence AS jsonb), CAST(:params AS jsonb))",
            params=json.dumps(params or {}),
            job=job,
            slot=started - timedelta(seconds=late_s) if is_slot else None,
            state=state,
            started=started,
            at=at,
            message=message,
            evidence=json.dumps(document),
        )

    def waits(self, job: str, queue: str, *, is_sent: bool = True, slot: bool = False) -> None:
        """A run has come due and waits."""
        self.sql(
            "INSERT INTO k9ops.run (id, job, queue, trigger, slot, created_at, due_at, sent_at, sends) VALUES"
            " (gen_random_uuid(), :job, :queue, 'schedule', :slot, :now, :now, :sent, 1)",
            job=job,
            queue=queue,
            slot=self.now if slot else None,
            sent=self.now if is_sent else None,
        )

    def runs(self, job: str) -> None:
        """A run begins."""
        self.sql(
            "INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at, due_at, started_at, lease_owner,"
            " lease_expires_at) VALUES (gen_random_uuid(), :job, 'backups', 'send', 'running', :now, :now, :now, 'w',"
            " :now)",
            job=job,
        )

    def clear(self, job: str) -> None:
        """What waits or is executed is done."""
        self.sql(
            "UPDATE k9ops.run SET state = 'skipped', lease_owner = NULL, lease_expires_at = NULL, finished_at = :now,"
            " started_at = coalesce(started_at, :now) WHERE job = :job AND finished_at IS NULL",
            job=job,
        )

    def miss(self, schedule: str) -> None:
        self.sql("UPDATE k9ops.schedule SET last_missed_slot = :now, missed = missed + 1 WHERE name = :n", n=schedule)

    def slot(self, schedule: str) -> None:
        self.sql("UPDATE k9ops.schedule SET last_slot = :now WHERE name = :n", n=schedule)

    def wait(self, *, minutes: float = 0, hours: float = 0) -> None:
        """Let time pass in rounds of at most six minutes."""
        until = self.now + timedelta(minutes=minutes, hours=hours)
        while self.now < until:
            self.now = min(until, self.now + timedelta(minutes=6))
            self.round()

    def ask_drive_again(self) -> None:
        """It is time to ask Drive; what it says is looked at in the round after."""
        self.sql("UPDATE k9ops.watchman SET drive = '{}'")
        self.wait(minutes=10)

    def sleep(self, *, minutes: float) -> None:
        """Let time pass without a watchman."""
        self.now += timedelta(minutes=minutes)

    def round(self) -> bool:
        """What lives reports; then the watchman goes his round."""
        for name, kind, queues in (
            ("worker", "worker", [queue for queue in QUEUES if queue != "backups"]),
            ("backups", "worker", ["backups"]),
            ("scheduler", "scheduler", []),
        ):
            if name in self.alive:
                self.sql(
                    "INSERT INTO k9ops.process (name, kind, host, pid, version, queues, threads, seen_at,"
                    " silent_after_s) VALUES (:name, :kind, 'h', 1, '0', :queues, 1, :now, 60)"
                    " ON CONFLICT (name) DO UPDATE SET seen_at = :now",
                    name=name,
                    kind=kind,
                    queues=queues,
                )
        if "scheduler" in self.alive:
            self.sql("UPDATE k9ops.schedule SET dispatched_until = :now")
        return go_round(
            self.settings,
            self.engine,
            holder="test",
            now=self.now,
            ask_drive=lambda settings, engine, now: replace(self.drive, asked_at=now),
        )

    def told(self, channel: str) -> list[str]:
        """What a channel got, as `kind rule:subject`."""
        if channel == "notification":
            with self.engine.begin() as connection:
                rows = connection.execute(
                    text(
                        "SELECT user_id, title FROM public.notification"
                        " ORDER BY created_at, length(related_id), related_id"
                    )
                ).all()
            kinds = {"تنبيه": "alert", "تذكير": "reminder", "انتهت": "recovery"}
            assert {row.user_id for row in rows} <= {ADMIN}
            return [next(kind for word, kind in kinds.items() if word in row.title) for row in rows]
        if channel == "webhook":
            return [f"{item['kind']} {item['rule']}:{item['subject']}" for item in self.receiver.at("webhook")]
        titles = {"something is wrong": "alert", "still wrong": "reminder", "it is over": "recovery"}
        documents = self.receiver.at("slack" if channel == "slack" else "bot12:secret")
        return [next(kind for word, kind in titles.items() if word in item["text"]) for item in documents]


@pytest.fixture(scope="module")
def watched(postgres_server: PostgresServer) -> Iterator[tuple[Engine, Settings]]:
    """A database with the tables of k9ops and the application, and two admins of whom one has left."""
    name = f"alerts_{secrets.token_hex(6)}"
    url = f"{postgres_server.url.rpartition('/')[0]}/{name}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection, temporary_folder() as folder:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        settings = load_settings(
            {"DATABASE_URL": url, "K9OPS_BACKUP_DIR": str(folder), "K9OPS_STATE_DIR": str(folder)},
            env_file=folder / "none",
        ).settings
        engine = create_engine_for(settings.sqlalchemy_url, settings, application_name="k9ops test:1")
        upgrade(engine)
        build_metadata("A").create_all(engine)
        users = ((ADMIN, "GENERAL_ADMIN", True), (FORMER_ADMIN, "GENERAL_ADMIN", False), (HANDLER, "HANDLER", True))
        with engine.begin() as session:
            for user, role, active in users:
                session.execute(
                    text(
                        'INSERT INTO public."user" (id, username, email, role, full_name, active)'
                        " VALUES (:id, :name, :name, CAST(:role AS userrole), 'x', :active)"
                    ),
                    {"id": user, "name": str(user), "role": role, "active": active},
                )
        yield engine, settings
        engine.dispose()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def stage(watched: tuple[Engine, Settings], receiver: Receiver) -> Stage:
    stage = Stage(*watched, receiver)
    stage.sql(
        f"TRUNCATE {', '.join(f'k9ops.{name}' for name in _CHANGED)}, public.notification, public.backup_settings"
    )
    stage.sql(
        "INSERT INTO public.backup_settings (id, auto_backup_enabled, backup_frequency, backup_hour, retention_days,"
        " google_drive_enabled, created_at, updated_at) VALUES (1, true, 'DAILY', 2, 30, true, now(), now())"
    )
    stage.set_up()
    return stage
