import pytest
from sqlalchemy import Engine, inspect, text

from k9ops.db.application import Generation, inspect_application
from k9ops.db.application_enums import enum_labels
from k9ops.db.application_tables import build_metadata


@pytest.mark.parametrize("generation", ["A", "B"])
def test_inspect_application_finds_the_generation_and_its_columns(any_engine: Engine, generation: Generation) -> None:
    metadata = build_metadata(generation)
    metadata.create_all(any_engine)
    with any_engine.connect() as connection:
        schema = inspect_application(connection)
    assert schema.generation == generation
    assert schema.columns == {
        table.name: frozenset(column.name for column in table.columns) for table in metadata.tables.values()
    }


def test_inspect_application_is_of_no_generation_when_the_database_is_empty(any_engine: Engine) -> None:
    with any_engine.connect() as connection:
        assert inspect_application(connection).generation is None


def test_inspect_application_sees_no_dropped_column_and_no_other_schema(any_engine: Engine) -> None:
    build_metadata("B").create_all(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text("ALTER TABLE dog DROP COLUMN height"))
        connection.execute(text("CREATE SCHEMA elsewhere CREATE TABLE cat (id integer)"))
        schema = inspect_application(connection)
    wanted = build_metadata("B").tables["public.dog"].columns.keys()
    assert schema.columns["dog"] == frozenset(wanted) - {"height"}
    assert not schema.has("cat")


@pytest.mark.parametrize("generation", ["A", "B"])
def test_metadata_makes_native_enums_and_the_known_indexes(any_engine: Engine, generation: Generation) -> None:
    build_metadata(generation).create_all(any_engine)
    inspector = inspect(any_engine)
    found = {enum["name"]: tuple(enum["labels"]) for enum in inspector.get_enums(schema="public")}  # type: ignore[attr-defined]
    assert found == enum_labels(generation)
    indexes = {tuple(index["column_names"]) for index in inspector.get_indexes("notification")}
    assert indexes == {("created_at",), ("read",), ("user_id", "read")}
    (unique,) = inspector.get_unique_constraints("daily_schedule")
    assert unique["column_names"] == ["date", "project_id"]
    columns = {column["name"]: column for column in inspector.get_columns("daily_schedule")}
    assert columns["project_id"]["nullable"] is (generation == "A")
    assert ("locked_at" in columns) is (generation == "B")
