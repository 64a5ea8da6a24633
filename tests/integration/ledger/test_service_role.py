"""The service as a role that owns nothing and may only append audit entries: everything still works."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, text
from tests.processes import wait_for

from k9ops.alerts.rounds import go_round
from k9ops.alerts.situation import DriveFacts
from k9ops.backups.anchors import list_anchors
from k9ops.backups.catalogue import make_backup_id
from k9ops.backups.create import create_backup
from k9ops.config.settings import Settings
from k9ops.db.audit import list_events
from k9ops.db.audit_chain import verify_chain
from k9ops.db.engine import create_engine_for
from k9ops.db.privileges import grant_service
from k9ops.db.sample import seed
from k9ops.ledger.claims import claim_run, finish_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.processes import report_process
from k9ops.ledger.pruning import prune_runs
from k9ops.ledger.requests import record_run, request_cancel, request_retry
from k9ops.ledger.slots import pause_schedule, resume_schedule
from k9ops.outcome import Execution
from k9ops.upkeep.schedules import lock_schedules

SLOT = "2026-11-24T20:59:00+00:00"


@pytest.fixture
def service(engine: Engine, settings: Settings) -> Iterator[Engine]:
    """An engine of the service's own role."""
    name = f"service_{uuid.uuid4().hex[:8]}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'svc'; GRANT pg_read_all_data TO {name}"))
    seed(engine, "B", today=date(2026, 11, 24))
    with engine.begin() as connection:
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}"))
        connection.execute(text("UPDATE public.daily_schedule SET status = 'OPEN' WHERE date < '2026-11-24'"))
    grant_service(engine, name)
    url = settings.sqlalchemy_url.set(username=name, password="svc")
    service = create_engine_for(url, settings, application_name="k9ops test:1")
    yield service
    service.dispose()
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}; DROP ROLE {name}"))


def test_service_that_may_only_append_does_all_of_its_work(service: Engine, settings: Settings) -> None:
    new = NewRun(job="create_report", queue="reports", trigger="cli", requested_by="omar", origin="here", reason="why")
    assert record_run(service, new, is_sent=True)
    request_cancel(service, new.id, requested_by="omar", reason="enough")
    request_retry(service, new.id, requested_by="omar")
    claim = claim_run(service, new.id, owner="w", lease_s=60, path="worker")
    assert claim is not None
    assert finish_run(service, claim, state="succeeded", message="Done.", evidence={"rows": 1})
    assert pause_schedule(service, "create_backup", paused_by="omar")
    assert resume_schedule(service, "create_backup", resumed_by="omar")
    report_process(service, "w", kind="worker", silent_after_s=60)
    locked = lock_schedules(settings, service, execution=Execution(), slot=SLOT).evidence["locked"]
    assert locked > 0
    backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4())
    backup = create_backup(settings, service, backup_id=backup_id, execution=Execution())
    assert backup.manifest.audit is not None
    assert backup.manifest.audit.last_id == locked + 6
    watching = settings.model_copy(update={"watch_interval_s": 30})
    now = datetime.now(UTC)
    assert go_round(watching, service, holder="w", now=now, ask_drive=lambda *_: DriveFacts(asked_at=now))
    assert prune_runs(service, before=now, routine_before=now, routine_jobs=[]) == 0
    report = verify_chain(service, list_anchors(settings.backup_dir))
    assert (report.entries, report.anchors, report.problem) == (locked + 6, 1, None)
    with service.begin() as connection:
        written = [item.action for item in reversed(list_events(connection, limit=10_000)) if item.action != "lock"]
    assert written == ["request", "cancel", "retry", "finish", "pause", "resume"]


def test_lock_schedules_keeps_no_other_writer_waiting_while_it_waits_itself(
    service: Engine, engine: Engine, settings: Settings
) -> None:
    """The application holds a schedule; only the one who waits for it is late."""
    job = threading.Thread(
        target=lock_schedules, args=(settings, service), kwargs={"execution": Execution(), "slot": SLOT}
    )
    with engine.connect() as application, application.begin():
        application.execute(text("SELECT 1 FROM public.daily_schedule WHERE status = 'OPEN' FOR UPDATE"))
        job.start()
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            wait_for(lambda: observer.scalar(waits))
        assert pause_schedule(engine, "create_backup", paused_by="omar")
        assert verify_chain(engine).entries == 1
    job.join(timeout=60)
    assert verify_chain(engine).entries > 1
    assert verify_chain(engine).problem is None
