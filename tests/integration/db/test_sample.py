from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, text

from k9ops.db.application import Generation, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.backup_settings import read_backup_settings
from k9ops.db.sample import seed
from k9ops.errors import DatabaseInvalid

TODAY = date(2026, 11, 24)


def value(engine: Engine, statement: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar_one()


def digest(engine: Engine, table: str) -> str:
    return str(value(engine, f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t.id)) FROM "{table}" t'))


@pytest.mark.parametrize("generation", ["A", "B"])
def test_seed_makes_and_fills_every_table(any_engine: Engine, generation: Generation) -> None:
    steps: list[tuple[int, int, str]] = []
    counts = seed(any_engine, generation, today=TODAY, progress=lambda *step: steps.append(step))
    names = {table.name for table in build_metadata(generation).tables.values()}
    assert {name: value(any_engine, f'SELECT count(*) FROM "{name}"') for name in names} == counts
    assert steps[0] == (0, sum(counts.values()), "rows")
    assert steps[-1] == (sum(counts.values()), sum(counts.values()), "rows")
    assert steps == sorted(steps)
    with any_engine.connect() as connection:
        schema = inspect_application(connection)
        settings = read_backup_settings(connection, schema)
    assert schema.generation == generation
    assert (settings.wants_backups, settings.backup_frequency) == (True, "DAILY")


@pytest.mark.parametrize("generation", ["A", "B"])
def test_seed_is_realistic(any_engine: Engine, generation: Generation) -> None:
    seed(any_engine, generation, today=TODAY)
    assert value(any_engine, f"SELECT count(*) FROM daily_schedule WHERE status = 'OPEN' AND date < '{TODAY}'") > 20
    assert value(any_engine, "SELECT max(date) - min(date) FROM daily_schedule") > 150
    assert value(any_engine, "SELECT count(*) FROM (SELECT DISTINCT read FROM notification) r") == 3
    assert value(any_engine, "SELECT count(*) FROM notification") > 5_000
    assert value(any_engine, f"SELECT max(created_at) <= '{TODAY}' FROM notification")
    assert value(any_engine, "SELECT count(*) FROM \"user\" WHERE full_name ~ '[\u0621-\u064a]'") > 100
    assert value(any_engine, "SELECT count(*) FROM \"user\" WHERE full_name ~ '[A-Za-z]'") > 5
    assert value(any_engine, 'SELECT count(*) FROM "user" WHERE dog_id IS NOT NULL') > 40


def test_seed_gives_the_same_rows_when_the_seed_is_the_same(
    database_url: str, database15_url: str, connect: Any
) -> None:
    first, second = connect(database_url), connect(database15_url)
    assert seed(first, "B", today=TODAY) == seed(second, "B", today=TODAY)
    for table in ("user", "dog", "daily_schedule_item", "notification", "veterinary_visit"):
        assert digest(first, table) == digest(second, table)


def test_seed_gives_other_rows_when_the_seed_is_another(database_url: str, database15_url: str, connect: Any) -> None:
    first, second = connect(database_url), connect(database15_url)
    seed(first, "B", today=TODAY)
    seed(second, "B", today=TODAY, seed=2)
    assert digest(first, "notification") != digest(second, "notification")


def test_seed_refuses_a_database_with_users_unless_forced(any_engine: Engine) -> None:
    seed(any_engine, "A", today=TODAY)
    before = digest(any_engine, "user")
    with pytest.raises(DatabaseInvalid, match="162 K9 users already"):
        seed(any_engine, "A", today=TODAY)
    assert digest(any_engine, "user") == before
    seed(any_engine, "A", today=TODAY, force=True)
    assert value(any_engine, 'SELECT count(*) FROM "user"') == 324
    assert value(any_engine, "SELECT count(*) FROM backup_settings") == 1


def test_seed_fills_the_applications_own_empty_tables(any_engine: Engine) -> None:
    build_metadata("B").create_all(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text("ALTER TABLE dog DROP COLUMN height"))
        connection.execute(text('ALTER TABLE "user" ADD mfa_enabled boolean NOT NULL DEFAULT false'))
    seed(any_engine, "B", today=TODAY)
    assert value(any_engine, "SELECT count(*) FROM dog") == 60


def test_seed_refuses_tables_of_the_other_generation(any_engine: Engine) -> None:
    build_metadata("A").create_all(any_engine)
    with pytest.raises(DatabaseInvalid, match="generation A, not B"):
        seed(any_engine, "B", today=TODAY)


def test_seed_refuses_incomplete_tables(any_engine: Engine) -> None:
    build_metadata("B").create_all(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text("DROP TABLE incident"))
    with pytest.raises(DatabaseInvalid, match="missing: incident"):
        seed(any_engine, "B", today=TODAY)


def test_seed_names_a_column_that_it_cannot_fill(any_engine: Engine) -> None:
    build_metadata("B").create_all(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text('ALTER TABLE "user" ADD password_hash text NOT NULL'))
    with pytest.raises(DatabaseInvalid, match=r"user\.password_hash"):
        seed(any_engine, "B", today=TODAY)


def test_seed_adds_nothing_when_existing_rows_stand_in_its_way(any_engine: Engine) -> None:
    build_metadata("B").create_all(any_engine)
    with any_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO project (id, name, code, start_date)"
                " VALUES (gen_random_uuid(), 'x', 'PRJ-001', '2026-01-01')"
            )
        )
    with pytest.raises(DatabaseInvalid, match="do not go together"):
        seed(any_engine, "B", today=TODAY)
    assert value(any_engine, "SELECT count(*) FROM employee") == 0
