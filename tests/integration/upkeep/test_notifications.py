import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from tests.processes import DEADLINE_S, wait_for

from k9ops.config.settings import Settings
from k9ops.db.application_tables import build_metadata
from k9ops.errors import DatabaseInvalid, RunInterrupted
from k9ops.outcome import Execution
from k9ops.upkeep.notifications import clean_notifications

SLOT = datetime(2026, 11, 23, 2, tzinfo=UTC)
RETENTION = timedelta(days=30)
FIRST = "(SELECT id FROM public.notification ORDER BY id LIMIT 1)"


@pytest.fixture
def small(settings: Settings) -> Settings:
    return settings.model_copy(update={"notification_batch_rows": 7, "notification_pause_s": 0.0})


@pytest.fixture(params=["A", "B"])
def application(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    with engine.begin() as connection:
        build_metadata(request.param).create_all(connection)
        connection.execute(text("ALTER TABLE public.notification DROP CONSTRAINT notification_user_id_fkey"))
    return engine


def add(engine: Engine, count: int, *, read: bool | None, age: timedelta) -> None:
    row = {"read": read, "at": (SLOT - age).replace(tzinfo=None)}
    statement = text(
        "INSERT INTO public.notification (id, user_id, type, title, message, read, created_at)"
        " VALUES (:id, :id, 'TASK_ASSIGNED', 'مهمة', 'رسالة', :read, :at)"
    )
    with engine.begin() as connection:
        connection.execute(statement, [row | {"id": uuid.uuid4()} for _ in range(count)])


def count(engine: Engine) -> int:
    with engine.begin() as connection:
        found: int = connection.scalar(text("SELECT count(*) FROM public.notification")) or 0
    return found


def test_clean_notifications_deletes_what_was_read_and_is_old(application: Engine, small: Settings) -> None:
    old, young = RETENTION + timedelta(seconds=1), RETENTION - timedelta(seconds=1)
    add(application, 40, read=True, age=old)
    for read, age in ((True, young), (False, old), (None, old), (True, RETENTION)):
        add(application, 3, read=read, age=age)
    outcome = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat())
    assert (outcome.state, outcome.evidence["deleted"], outcome.evidence["batches"]) == ("succeeded", 40, 6)
    assert count(application) == 12
    again = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat())
    assert (again.state, again.evidence["found"]) == ("skipped", 0)


def test_clean_notifications_needs_no_right_but_to_read_and_delete(application: Engine, small: Settings) -> None:
    add(application, 40, read=True, age=RETENTION + timedelta(seconds=1))
    name, password = f"cleaner_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    with application.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'"))
        connection.execute(text(f"GRANT SELECT, DELETE ON public.notification TO {name}"))
    plain = create_engine(application.url.set(username=name, password=password))
    try:
        outcome = clean_notifications(small, plain, execution=Execution(), slot=SLOT.isoformat())
    finally:
        plain.dispose()
        with application.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))
    assert outcome.evidence["deleted"] == 40


def test_clean_notifications_counts_only_when_asked_to(application: Engine, small: Settings) -> None:
    add(application, 5, read=True, age=RETENTION * 2)
    outcome = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat(), dry_run=True)
    assert (outcome.state, outcome.evidence["found"], count(application)) == ("skipped", 5, 5)


def test_clean_notifications_leaves_rows_that_somebody_holds(
    application: Engine, small: Settings, database_url: str
) -> None:
    add(application, 20, read=True, age=RETENTION * 2)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT id FROM public.notification ORDER BY id LIMIT 4 FOR UPDATE")
        outcome = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat())
        assert (outcome.evidence["found"], outcome.evidence["deleted"]) == (20, 16)
    outcome = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat())
    assert (outcome.evidence["deleted"], count(application)) == (4, 0)


def test_clean_notifications_leaves_a_row_that_becomes_unread_meanwhile(
    application: Engine, small: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k9ops.upkeep.notifications._WAIT_BRIEFLY", text("SET lock_timeout = '60s'"))
    add(application, 5, read=True, age=RETENTION * 2)
    with psycopg.connect(database_url) as other, ThreadPoolExecutor() as pool:
        other.execute(f"UPDATE public.notification SET read = false WHERE id = {FIRST}")
        job = pool.submit(clean_notifications, small, application, execution=Execution(), slot=SLOT.isoformat())
        wait_for(lambda: count_waiting(application))
        other.commit()
        assert job.result(DEADLINE_S).evidence["deleted"] == 4
    assert count(application) == 1


def count_waiting(engine: Engine) -> int:
    with engine.begin() as connection:
        found: int = connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) or 0
    return found


def test_clean_notifications_is_no_success_when_it_could_delete_nothing(
    application: Engine, small: Settings, database_url: str
) -> None:
    add(application, 3, read=True, age=RETENTION * 2)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT id FROM public.notification FOR UPDATE")
        outcome = clean_notifications(small, application, execution=Execution(), slot=SLOT.isoformat())
    assert (outcome.state, outcome.evidence["found"], outcome.evidence["deleted"]) == ("partial", 3, 0)


def test_clean_notifications_keeps_what_is_done_when_it_is_stopped(application: Engine, small: Settings) -> None:
    add(application, 30, read=True, age=RETENTION * 2)
    checks = iter([None] * 2)

    def stop_at_the_third() -> None:
        try:
            next(checks)
        except StopIteration:
            raise RunInterrupted("Stop.", reason="shutdown") from None

    with pytest.raises(RunInterrupted):
        clean_notifications(
            small, application, execution=Execution(check_stop=stop_at_the_third), slot=SLOT.isoformat()
        )
    assert count(application) == 16
    progress: list[tuple[int, int, str]] = []
    execution = Execution(report_progress=lambda *step: progress.append(step))
    clean_notifications(small, application, execution=execution, slot=SLOT.isoformat())
    assert count(application) == 0
    assert progress[-1] == (16, 16, "rows")


def test_clean_notifications_says_so_when_the_table_is_missing(engine: Engine, small: Settings) -> None:
    with pytest.raises(DatabaseInvalid, match="notification"):
        clean_notifications(small, engine, execution=Execution(), slot=None)
