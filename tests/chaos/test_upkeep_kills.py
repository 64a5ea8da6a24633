"""A worker is killed in the middle of a clean-up: another goes on from there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from tests.processes import wait_for, worker_process

from k9ops.db.application_tables import build_metadata
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run

OLD, KEPT = 2000, 300


@pytest.fixture
def notifications(engine: Engine) -> Engine:
    build_metadata("B").create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE public.notification DROP CONSTRAINT notification_user_id_fkey"))
        connection.execute(
            text(
                "INSERT INTO public.notification (id, user_id, type, title, message, read, created_at)"
                " SELECT gen_random_uuid(), gen_random_uuid(), 'TASK_ASSIGNED', 'مهمة', 'رسالة',"
                " CASE WHEN n <= :old THEN true WHEN n % 2 = 0 THEN false END,"
                " now() AT TIME ZONE 'UTC' - interval '40 days' - n * interval '1 s'"
                " FROM generate_series(1, :all) AS n"
            ),
            {"old": OLD, "all": OLD + KEPT},
        )
    return engine


def count(engine: Engine) -> int:
    with engine.begin() as connection:
        found: int = connection.execute(text("SELECT count(*) FROM public.notification")).scalar_one()
    return found


def test_clean_notifications_resumes_after_a_kill(
    notifications: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_LEASE_S": "3",
        "K9OPS_RELAY_INTERVAL_S": "0.1",
        "K9OPS_NOTIFICATION_BATCH_ROWS": "20",
        "K9OPS_NOTIFICATION_PAUSE_S": "0.05",
    }
    new = NewRun(job="clean_notifications", queue="notifications")
    record_run(notifications, new, is_sent=False)
    with worker_process("k9ops.actors", environment) as worker:
        wait_for(lambda: count(notifications) <= OLD + KEPT - 200)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    left = count(notifications)
    assert KEPT < left < OLD + KEPT
    with worker_process("k9ops.actors", environment):
        wait_for(lambda: get_run(notifications, new.id).is_final)
    run = get_run(notifications, new.id)
    assert (run.state, run.attempt, run.deaths) == ("succeeded", 2, 1)
    assert run.evidence is not None
    assert run.evidence["deleted"] == left - KEPT
    assert count(notifications) == KEPT
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM notification WHERE read IS NULL").fetchone()
    assert row == (KEPT // 2,)
