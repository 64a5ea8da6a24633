import pytest

from k9ops.db.application import ApplicationSchema
from k9ops.errors import DatabaseInvalid

OLDER = {"user": {"id"}, "dog": {"id"}, "daily_schedule": {"id"}, "notification": {"id"}}


def schema(tables: dict[str, set[str]]) -> ApplicationSchema:
    return ApplicationSchema({name: frozenset(columns) for name, columns in tables.items()})


def test_generation_is_none_when_tables_of_the_application_are_missing() -> None:
    assert schema({}).generation is None
    assert schema({"user": {"id", "employee_id"}}).generation is None


def test_generation_is_b_when_one_of_its_columns_exists() -> None:
    assert schema(OLDER).generation == "A"
    assert schema(OLDER | {"user": {"id", "employee_id"}}).generation == "B"
    assert schema(OLDER | {"daily_schedule": {"id", "locked_at"}}).generation == "B"


def test_has_is_false_for_a_column_of_a_missing_table() -> None:
    assert schema(OLDER).has("user", "id")
    assert not schema(OLDER).has("user", "employee_id")
    assert not schema(OLDER).has("cat", "id")


def test_require_names_what_is_missing() -> None:
    schema(OLDER).require("user", "id")
    with pytest.raises(DatabaseInvalid, match=r"missing: user\.phone, user\.email\."):
        schema(OLDER).require("user", "id", "phone", "email")
    with pytest.raises(DatabaseInvalid, match="missing: cat"):
        schema(OLDER).require("cat", "id")
