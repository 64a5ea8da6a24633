"""create_report and expire_reports as plain calls."""

from __future__ import annotations

import stat
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.reports.conftest import NOW, Unit

from k9ops.errors import ParamsInvalid, ReportUnknown, RunInterrupted
from k9ops.outcome import Execution
from k9ops.reports import jobs
from k9ops.reports.artefacts import list_artefacts

NOTICES = "SELECT count(*) FROM public.notification WHERE related_type = 'k9ops_report'"


def run(**changes: object) -> Execution:
    return Execution(**{"requested_at": NOW, **changes})  # type: ignore[arg-type]


def test_create_leaves_one_file_with_digest_rows_and_expiry(unit: Unit) -> None:
    outcome = unit.create("dogs", format="csv")
    (artefact,) = list_artefacts(unit.settings.reports_dir)
    path = unit.settings.reports_dir / artefact.file_name
    assert outcome.state == "succeeded"
    assert outcome.evidence["rows"] == artefact.row_count == 60
    assert outcome.evidence["sha256"] == artefact.sha256
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert artefact.expires_at - artefact.created_at == timedelta(days=30)
    assert {item.name for item in unit.settings.reports_dir.iterdir()} == {path.name, f"{artefact.artefact_id}.json"}


def test_another_attempt_of_a_run_finds_what_the_first_one_made(unit: Unit) -> None:
    execution = run(run_id=uuid.uuid4())
    first = unit.create("dogs", format="csv", execution=execution)
    again = unit.create("dogs", format="csv", execution=execution)
    assert again.evidence["artefact_id"] == first.evidence["artefact_id"]
    assert again.evidence["reused"]
    assert len(list_artefacts(unit.settings.reports_dir)) == 1


def test_reuse_takes_the_finished_one_until_the_data_change(unit: Unit) -> None:
    first = unit.create("dogs", format="xlsx")
    assert unit.create("dogs", format="xlsx").evidence["artefact_id"] != first.evidence["artefact_id"]
    newest = list_artefacts(unit.settings.reports_dir)[0].artefact_id
    assert unit.create("dogs", format="xlsx", reuse=True).evidence["artefact_id"] == newest
    assert not unit.create("dogs", format="csv", reuse=True).evidence["reused"]
    assert not unit.create("dogs", format="xlsx", params={"status": "ACTIVE"}, reuse=True).evidence["reused"]
    unit.execute("UPDATE public.dog SET color = color || '!' , name = name || '!' WHERE code = 'K9-001'")
    try:
        assert not unit.create("dogs", format="xlsx", reuse=True).evidence["reused"]
    finally:
        unit.execute("UPDATE public.dog SET color = left(color, -1), name = left(name, -1) WHERE code = 'K9-001'")


def test_reuse_never_takes_a_file_that_was_changed(unit: Unit) -> None:
    unit.create("dogs", format="csv")
    (artefact,) = list_artefacts(unit.settings.reports_dir)
    with (unit.settings.reports_dir / artefact.file_name).open("ab") as file:
        file.write(b"x")
    assert not unit.create("dogs", format="csv", reuse=True).evidence["reused"]


def test_an_empty_report_is_skipped_when_asked_for(unit: Unit) -> None:
    empty = {"from": "2001-01-01", "to": "2001-01-02"}
    outcome = unit.create("incidents", params=empty, format="csv", skip_if_empty=True)
    assert (outcome.state, outcome.evidence["rows"]) == ("skipped", 0)
    assert list_artefacts(unit.settings.reports_dir) == []
    assert unit.create("incidents", params=empty, format="csv").state == "succeeded"


def test_the_requester_is_told_once_when_it_is_a_user(each_unit: Unit) -> None:
    before = each_unit.scalar(NOTICES)
    execution = run(run_id=uuid.uuid4(), requested_by="user0001")
    for _ in range(2):
        assert each_unit.create("dogs", format="csv", execution=execution).evidence["notified"]
    assert each_unit.scalar(NOTICES) == before + 1
    assert not each_unit.create("dogs", format="csv", requested_by="cron").evidence["notified"]
    assert each_unit.scalar(NOTICES) == before + 1
    title, user = (
        each_unit.scalar(f"SELECT {column} FROM public.notification WHERE related_type = 'k9ops_report' LIMIT 1")
        for column in ("title", "user_id")
    )
    assert title == "التقرير جاهز: سجل الكلاب"
    assert user == each_unit.scalar("SELECT id FROM public.\"user\" WHERE username = 'user0001'")
    each_unit.execute("DELETE FROM public.notification WHERE related_type = 'k9ops_report'")


def test_create_names_what_is_wrong(unit: Unit) -> None:
    with pytest.raises(ReportUnknown, match="no report 'cats'"):
        unit.create("cats")
    with pytest.raises(ParamsInvalid, match="format = 'doc': it must be one of pdf, xlsx, csv"):
        unit.create("dogs", format="doc")
    with pytest.raises(ParamsInvalid, match="status = 'X'"):
        unit.create("dogs", params={"status": "X"})
    assert not unit.settings.reports_dir.exists()


@pytest.mark.parametrize("kind", ["csv", "xlsx", "pdf"])
def test_a_run_that_must_stop_leaves_nothing(kind: str, unit: Unit) -> None:
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise RunInterrupted("stop", reason="cancelled")

    with pytest.raises(RunInterrupted):
        unit.create("attendance", format=kind, execution=run(check_stop=stop))
    assert list(unit.settings.reports_dir.iterdir()) == []


def test_relative_dates_count_from_the_request(unit: Unit) -> None:
    late = datetime(2026, 10, 31, 22, tzinfo=UTC)  # already November in Riyadh
    outcome = unit.create("attendance", format="csv", execution=run(requested_at=late))
    on_time = unit.create("attendance", format="csv", params={"from": "2026-10-01", "to": "2026-10-31"})
    assert outcome.evidence["rows"] == on_time.evidence["rows"] > 0


def test_expire_deletes_what_has_expired(unit: Unit) -> None:
    assert jobs.expire(unit.settings).state == "skipped"
    made = unit.create("dogs", format="csv").evidence["artefact_id"]
    assert jobs.expire(unit.settings).state == "skipped"
    outcome = jobs.expire(unit.settings, now=datetime.now(UTC) + timedelta(days=31))
    assert outcome.evidence["deleted"] == [made]
    assert list(unit.settings.reports_dir.iterdir()) == []
