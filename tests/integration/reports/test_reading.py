"""Every report's query on both generations, and the promises of reading."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from tests.integration.reports.conftest import TODAY, Unit

from k9ops.db.application_tables import build_metadata
from k9ops.errors import ParamsInvalid, ReportTooLarge, ReportUnavailable, RunInterrupted
from k9ops.outcome import Execution
from k9ops.reports.catalogue import REPORTS, find_report
from k9ops.reports.data import ReportData, read_report
from k9ops.reports.parameters import check_parameters
from k9ops.reports.reading import open_reading


def column_of(data: ReportData, key: str, *, section: int = 0) -> list[object]:
    part = data.sections[section]
    place = [column.key for column in part.columns].index(key)
    return [row[place] for row in part.rows()]


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_reads_the_sample_unit_of_both_generations(report: str, each_unit: Unit, tmp_path: Path) -> None:
    data = each_unit.read(report, tmp_path)
    for section in data.sections:
        assert section.row_count > 0, section.section.key
        rows = list(section.rows())
        assert len(rows) == section.row_count
        for place, column in enumerate(section.columns):
            filled = [row[place] for row in rows if row[place] not in (None, "")]
            if column.kind == "word":
                assert set(filled) <= set(column.words), column.key
            if column.total == "sum" and filled:
                assert section.totals[column.key] == sum(filled)
            if column.total == "count_by" and column.kind == "word":
                assert section.totals.get(column.key, {}) == Counter(filled)


@pytest.mark.parametrize(
    ("report", "table", "condition"),
    [
        ("dogs", "dog", "true"),
        ("employees", "employee", "true"),
        ("projects", "project", "true"),
        ("breeding", "production_cycle", "mating_date BETWEEN date '2025-11-24' AND date '2026-11-24'"),
        ("feeding", "feeding_log", "date BETWEEN date '2026-10-01' AND date '2026-10-31'"),
        ("checkups", "daily_checkup_log", "date BETWEEN date '2026-10-01' AND date '2026-10-31'"),
        ("caretaker_daily", "caretaker_daily_log", "date BETWEEN date '2026-10-01' AND date '2026-10-31'"),
        ("incidents", "incident", "incident_date BETWEEN date '2026-10-01' AND date '2026-10-31'"),
        ("handler_reports", "handler_report", "date BETWEEN date '2026-10-01' AND date '2026-10-31'"),
        (
            "training",
            "training_session",
            "session_date >= timestamp '2026-09-30 21:00' AND session_date < timestamp '2026-10-31 21:00'",
        ),
        (
            "veterinary",
            "veterinary_visit",
            "visit_date >= timestamp '2026-09-30 21:00' AND visit_date < timestamp '2026-10-31 21:00'",
        ),
    ],
)
def test_a_report_has_every_row_of_its_period(
    report: str, table: str, condition: str, each_unit: Unit, tmp_path: Path
) -> None:
    data = each_unit.read(report, tmp_path)
    assert data.sections[0].row_count == each_unit.scalar(f"SELECT count(*) FROM public.{table} WHERE {condition}")


def test_attendance_counts_no_day_twice(seeded_a: Unit, tmp_path: Path) -> None:
    data = seeded_a.read("attendance", tmp_path, **{"from": "2026-11-01", "to": "2026-11-10"})
    expected = seeded_a.scalar("""
        SELECT (SELECT count(*) FROM public.project_attendance
                WHERE date BETWEEN date '2026-11-01' AND date '2026-11-10')
          + (SELECT count(*) FROM public.attendance_day d WHERE date BETWEEN date '2026-11-01' AND date '2026-11-10'
             AND NOT EXISTS (SELECT FROM public.project_attendance p
                             WHERE p.entity_id = d.employee_id AND p.date = d.date))
    """)
    assert data.row_count == expected > 1000
    assert set(column_of(data, "entity")) == {"EMPLOYEE", "DOG"}


def test_the_monthly_grid_has_what_the_daily_list_has(each_unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    daily = each_unit.read("attendance", tmp_path / "d", **{"from": "2026-11-01", "to": "2026-11-30"})
    grid = each_unit.read("attendance_monthly", tmp_path, month="2026-11")
    entries = list(zip(column_of(daily, "entity"), column_of(daily, "status"), strict=True))
    counted = Counter(status for entity, status in entries if entity == "EMPLOYEE")
    for status in ("PRESENT", "ABSENT"):
        assert grid.sections[0].totals[f"total_{status}"] == counted[status] > 0
    days = [column.key for column in grid.sections[0].columns if column.key.startswith("day_")]
    assert days == [f"day_{day:02d}" for day in range(1, 31)]


def test_operations_weeks_add_up_to_the_month(each_unit: Unit, tmp_path: Path) -> None:
    data = each_unit.read("operations", tmp_path)
    counts = dict(zip(column_of(data, "metric"), column_of(data, "count"), strict=True))
    weeks = {part.section.key: sum(row[1] for row in part.rows()) for part in data.sections[1:4]}
    assert weeks == {"absences": counts["absent"], "training": counts["training"], "incidents": counts["incidents"]}
    assert counts["absent"] > 0


def test_filters_limit_by_code_number_and_id(each_unit: Unit, tmp_path: Path) -> None:
    dog = each_unit.scalar("SELECT dog_id FROM public.training_session ORDER BY id LIMIT 1")
    code = each_unit.scalar("SELECT code FROM public.dog WHERE id = :id", {"id": dog})
    period = {"from": "2026-01-01", "to": "2026-12-31"}
    by_code = each_unit.read("training", tmp_path, dog=code, **period)
    assert set(column_of(by_code, "dog_code")) == {code}
    assert each_unit.read("training", tmp_path, dog=str(dog), **period).row_count == by_code.row_count > 0
    members = each_unit.read("dogs", tmp_path, project="PRJ-001", status="ACTIVE")
    assert set(column_of(members, "status")) == {"ACTIVE"}
    assert 0 < members.row_count < 60


@pytest.mark.parametrize(
    ("report", "given", "words"),
    [
        ("attendance", {"project": "PRJ-999"}, "project = 'PRJ-999': there is no such project"),
        ("attendance", {"employee": "EMP-9999"}, "employee = 'EMP-9999': there is no such employee"),
        ("training", {"dog": "00000000-0000-4000-8000-000000000000"}, "there is no such dog"),
        ("training", {"trainer": "x' OR true --"}, "there is no such employee"),
        ("handler_report", {"report": "nothing"}, "there is no such handler report"),
    ],
)
def test_a_mistyped_reference_is_an_error_and_no_empty_report(
    report: str, given: dict[str, str], words: str, unit: Unit, tmp_path: Path
) -> None:
    with pytest.raises(ParamsInvalid, match=words):
        unit.read(report, tmp_path, **given)


def test_reading_is_one_snapshot_and_can_change_nothing(unit: Unit) -> None:
    report = find_report("dogs")
    values = check_parameters(report, {}, today=TODAY)
    options = {"zone": unit.settings.zone, "today": TODAY, "execution": Execution()}
    count = text("SELECT count(*) FROM public.notification")
    with open_reading(unit.engine, report, values, **options) as reading:  # type: ignore[arg-type]
        before = reading.connection.scalar(count)
        columns = "user_id, type, message, created_at"
        unit.execute(
            f"INSERT INTO public.notification (id, title, {columns})"
            f" SELECT gen_random_uuid(), 'new', {columns} FROM public.notification LIMIT 1"
        )
        assert reading.connection.scalar(count) == before == unit.scalar(count.text) - 1
        unit.execute("DELETE FROM public.notification WHERE title = 'new'")
        with pytest.raises(InternalError, match="read-only transaction"):
            reading.connection.execute(text("DELETE FROM public.notification"))


def test_rows_come_by_a_cursor_and_stop_when_asked(unit: Unit, tmp_path: Path) -> None:
    looked_at: list[int] = []

    def stop_at_the_second_batch() -> None:
        cursors = unit.scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FETCH FORWARD%' AND pid <> pg_backend_pid()"
        )
        looked_at.append(cursors)
        if len(looked_at) == 2:
            raise RunInterrupted("stop", reason="shutdown")

    report = find_report("attendance")
    values = check_parameters(report, {}, today=TODAY)
    execution = Execution(check_stop=stop_at_the_second_batch)
    with pytest.raises(RunInterrupted):
        read_report(
            unit.engine,
            unit.settings,
            report,
            values,
            today=TODAY,
            folder=tmp_path,
            execution=execution,
            max_rows=10**6,
        )
    assert looked_at == [1, 1]


def test_too_many_rows_are_refused_with_advice(unit: Unit, tmp_path: Path) -> None:
    with pytest.raises(ReportTooLarge, match="more than 59 rows: choose a shorter period"):
        unit.read("dogs", tmp_path, max_rows=59)
    assert unit.read("dogs", tmp_path, max_rows=60).row_count == 60


def test_a_database_without_a_table_is_refused_clearly(unit: Unit, tmp_path: Path, database_url: str) -> None:
    from k9ops.config.settings import Settings
    from k9ops.db.engine import create_engine_for

    settings = Settings(database_url=database_url)  # type: ignore[arg-type]
    engine = create_engine_for(settings.sqlalchemy_url, settings, application_name="k9ops test:2")
    metadata = build_metadata("B")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE public.incident"))
    poor = Unit("B", settings, engine)
    with pytest.raises(
        ReportUnavailable, match="incidents cannot be made here: the application's database lacks incident"
    ):
        poor.read("incidents", tmp_path)
    assert poor.read("dogs", tmp_path).row_count == 0
    engine.dispose()


def test_the_digest_changes_with_data_and_parameters_only(unit: Unit, tmp_path: Path) -> None:
    first = unit.read("dogs", tmp_path)
    assert unit.read("dogs", tmp_path).sha256 == first.sha256
    assert unit.read("dogs", tmp_path, status="ACTIVE").sha256 != first.sha256
    unit.execute("UPDATE public.dog SET name = name || '!' WHERE code = 'K9-001'")
    try:
        assert unit.read("dogs", tmp_path).sha256 != first.sha256
    finally:
        unit.execute("UPDATE public.dog SET name = left(name, -1) WHERE code = 'K9-001'")
    assert unit.read("dogs", tmp_path).sha256 == first.sha256


def test_kept_rows_are_json_lines(unit: Unit, tmp_path: Path) -> None:
    section = unit.read("dogs", tmp_path).sections[0]
    lines = section.path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 60
    assert all(len(json.loads(line)) == len(section.columns) for line in lines)
