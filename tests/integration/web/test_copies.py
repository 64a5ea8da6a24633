from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import text
from tests.integration.web.conftest import Browser
from tests.integration.web.test_actions import XSS, audited
from tests.unit.backups.making import make_backup

from k9ops.backups.catalogue import manifest_path, state_path
from k9ops.backups.manifest import CopiedFile, DriveCopy
from k9ops.ledger.claims import claim_run, finish_run, renew_leases
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, list_runs, record_run
from k9ops.reports import choices
from k9ops.reports.catalogue import find_report
from k9ops.reports.choices import list_choices
from k9ops.web.visit import Desk

Enter = Callable[[str], Browser]


def store_backup(desk: Desk, *, is_copied: bool = False) -> str:
    folder = desk.settings.backup_dir
    folder.mkdir(parents=True, exist_ok=True)
    backup = make_backup(datetime(2026, 11, 24, 2, tzinfo=UTC), folder=folder)
    backup.archive_path.write_bytes(b"x" * backup.manifest.size_bytes)
    manifest_path(folder, backup.backup_id).write_text(backup.manifest.model_dump_json(), encoding="utf-8")
    state = backup.state
    if is_copied:
        copy = DriveCopy(folder_id="f", at=datetime.now(UTC), files=(CopiedFile(name=XSS, file_id="1", size_bytes=5),))
        state = state.model_copy(update={"drive_copy": copy})
    state_path(folder, backup.backup_id).write_text(state.model_dump_json(), encoding="utf-8")
    return backup.backup_id


def test_upload_is_shown_as_it_goes_and_started_again(desk: Desk, enter: Enter) -> None:
    backup_id, browser = store_backup(desk), enter("operator")
    browser.post("/language", language="en")
    new = NewRun(job="upload_backup", queue="backups", params={"backup_id": backup_id})
    record_run(desk.engine, new, is_sent=True)
    claim = claim_run(desk.engine, new.id, owner="w", lease_s=30, path="worker")
    assert claim is not None
    renew_leases(desk.engine, [(claim, {"done": 30, "total": 120, "unit": "bytes"})], lease_s=30)
    page = browser.client.get("/backups").text
    assert "This machine only" in page
    assert "25 %" in page
    answer = browser.post(f"/backups/{backup_id}/upload", reason="r")
    assert answer.headers["location"] == f"/runs/{new.id}"
    assert finish_run(desk.engine, claim, state="failed", message=f"Drive refuses {XSS}")
    page = browser.client.get(f"/backups/{backup_id}").text
    assert "Drive refuses &lt;script&gt;" in page
    assert browser.post(f"/backups/{backup_id}/upload").status_code == 400
    answer = browser.post(f"/backups/{backup_id}/upload", reason="Drive is back")
    run = get_run(desk.engine, uuid.UUID(answer.headers["location"].split("/")[2].split("?")[0]))
    assert (run.job, run.params) == ("upload_backup", {"backup_id": backup_id, "only_if_enabled": False})
    assert audited(desk)[0] == ("operator", "request", "web from testclient", "Drive is back")
    assert len(list_runs(desk.engine, job="upload_backup")) == 2


def test_copy_on_drive_is_listed_file_by_file(desk: Desk, enter: Enter) -> None:
    backup_id, browser = store_backup(desk, is_copied=True), enter("viewer")
    browser.post("/language", language="en")
    page = browser.client.get(f"/backups/{backup_id}").text
    assert "This machine and Google Drive" in page
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "Upload to Google Drive" not in page


def test_form_of_a_report_offers_what_the_application_has(desk: Desk, enter: Enter, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    report, browser = find_report("attendance"), enter("operator")
    assert list_choices(desk.engine, report) == {}
    with desk.engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.project (code text, name text)"))
        connection.execute(text("INSERT INTO public.project VALUES ('P2', :x), ('P1', 'أ')"), {"x": XSS})
    assert list_choices(desk.engine, report) == {"project": [("P2", XSS), ("P1", "أ")]}
    page = browser.client.get("/reports/new/attendance").text
    assert '<option value="P1" dir="auto">أ (P1)</option>' in page
    assert "<script>alert" not in page
    monkeypatch.setattr(choices, "MOST_CHOICES", 1)
    assert list_choices(desk.engine, report) == {}
    assert '<input name="project"' in browser.client.get("/reports/new/attendance").text
