from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text

from k9ops.db.application import Generation, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.backup_settings import BackupSettings, read_backup_settings, write_backup_result
from k9ops.errors import DatabaseInvalid

AT = datetime(2026, 3, 1, 2, 30, tzinfo=ZoneInfo("Asia/Riyadh"))


@pytest.fixture(params=["A", "B"])
def application(any_engine: Engine, request: pytest.FixtureRequest) -> Engine:
    """A database with the application's empty tables."""
    generation: Generation = request.param
    build_metadata(generation).create_all(any_engine)
    return any_engine


def insert_row(connection: Connection, **values: Any) -> None:
    row = {
        "id": 1,
        "auto_backup_enabled": True,
        "backup_frequency": "WEEKLY",
        "backup_hour": 4,
        "retention_days": 14,
        "google_drive_enabled": True,
        "google_drive_folder_id": "1a2b",
        "google_drive_credentials": '{"token": "x"}',
        **values,
    }
    names = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row).replace(
        ":backup_frequency", "CAST(:backup_frequency AS backupfrequency)"
    )
    now = "TIMESTAMP '2026-01-01'"
    connection.execute(
        text(f"INSERT INTO backup_settings ({names}, created_at, updated_at) VALUES ({marks}, {now}, {now})"), row
    )


def test_read_backup_settings_is_the_defaults_when_the_row_is_missing(application: Engine) -> None:
    with application.connect() as connection:
        settings = read_backup_settings(connection, inspect_application(connection))
    assert settings == BackupSettings()
    assert (settings.backup_frequency, settings.backup_hour, settings.retention_days) == ("DISABLED", 2, 30)
    assert not settings.wants_backups


def test_read_backup_settings_is_the_row_without_the_credentials(application: Engine) -> None:
    with application.begin() as connection:
        insert_row(connection, last_backup_at=datetime(2026, 2, 1, 23, 0), last_backup_status="success")  # noqa: DTZ001
        settings = read_backup_settings(connection, inspect_application(connection))
    assert settings == BackupSettings(
        auto_backup_enabled=True,
        backup_frequency="WEEKLY",
        backup_hour=4,
        retention_days=14,
        google_drive_enabled=True,
        google_drive_folder_id="1a2b",
        last_backup_at=datetime(2026, 2, 1, 23, 0, tzinfo=UTC),
        last_backup_status="success",
    )
    assert settings.wants_backups


@pytest.mark.parametrize(("enabled", "frequency"), [(False, "DAILY"), (True, "DISABLED")])
def test_wants_backups_is_false_when_either_switch_is_off(enabled: bool, frequency: Any) -> None:
    assert not BackupSettings(auto_backup_enabled=enabled, backup_frequency=frequency).wants_backups


def test_write_backup_result_stores_naive_utc(application: Engine) -> None:
    with application.begin() as connection:
        insert_row(connection)
        schema = inspect_application(connection)
        assert write_backup_result(connection, schema, at=AT, status="partial", message="حُفظت محلياً فقط")
        stored = connection.execute(text("SELECT last_backup_at FROM backup_settings")).scalar_one()
        settings = read_backup_settings(connection, schema)
    assert stored == datetime(2026, 2, 28, 23, 30)  # noqa: DTZ001
    assert settings.last_backup_at == AT
    assert (settings.last_backup_status, settings.last_backup_message) == ("partial", "حُفظت محلياً فقط")
    assert (settings.backup_hour, settings.backup_frequency) == (4, "WEEKLY")


def test_write_backup_result_stores_utc_when_the_session_is_in_riyadh(application: Engine) -> None:
    with application.begin() as connection:
        connection.execute(text("SET LOCAL TIME ZONE 'Asia/Riyadh'"))
        insert_row(connection)
        schema = inspect_application(connection)
        assert write_backup_result(connection, schema, at=AT, status="success", message="")
        stored = connection.execute(text("SELECT CAST(last_backup_at AS text) FROM backup_settings")).scalar_one()
        assert read_backup_settings(connection, schema).last_backup_at == AT
    assert stored == "2026-02-28 23:30:00"


def test_write_backup_result_makes_no_row_when_it_is_missing(application: Engine) -> None:
    with application.begin() as connection:
        schema = inspect_application(connection)
        assert not write_backup_result(connection, schema, at=AT, status="success", message="")
        assert connection.execute(text("SELECT count(*) FROM backup_settings")).scalar_one() == 0


def test_write_backup_result_refuses_a_naive_moment(application: Engine) -> None:
    with application.begin() as connection, pytest.raises(ValueError, match="aware"):
        write_backup_result(
            connection, inspect_application(connection), at=AT.replace(tzinfo=None), status="success", message=""
        )


def test_backup_settings_of_another_database_are_refused(any_engine: Engine) -> None:
    with any_engine.connect() as connection:
        schema = inspect_application(connection)
        with pytest.raises(DatabaseInvalid, match="backup_settings"):
            read_backup_settings(connection, schema)
        with pytest.raises(DatabaseInvalid, match="backup_settings"):
            write_backup_result(connection, schema, at=AT, status="failed", message="")
