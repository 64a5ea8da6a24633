import random
from datetime import date

import pytest

from k9ops.db.application import Generation
from k9ops.db.application_enums import enum_labels
from k9ops.db.application_tables import build_metadata
from k9ops.db.sample.care import add_care
from k9ops.db.sample.members import add_members
from k9ops.db.sample.records import add_backup_settings, add_records
from k9ops.db.sample.schedules import add_attendance, add_schedules
from k9ops.db.sample.unit import SampleUnit

TODAY = date(2026, 2, 28)


def invent(generation: Generation, chance: int) -> SampleUnit:
    unit = SampleUnit(generation, TODAY, 0, random.Random(chance))  # noqa: S311 - sample data, no secret
    add_members(unit)
    add_schedules(unit)
    if generation == "A":
        add_attendance(unit)
    add_care(unit)
    add_records(unit)
    add_backup_settings(unit)
    return unit


@pytest.mark.parametrize("generation", ["A", "B"])
def test_sample_is_the_same_when_the_seed_is(generation: Generation) -> None:
    assert invent(generation, 1).rows == invent(generation, 1).rows
    assert invent(generation, 1).rows["user"] != invent(generation, 2).rows["user"]


@pytest.mark.parametrize("generation", ["A", "B"])
def test_sample_fits_the_tables_for_any_seed(generation: Generation) -> None:
    tables = build_metadata(generation).tables
    for chance in range(3):
        rows = invent(generation, chance).rows
        filled = {table.name for table in tables.values() if rows.get(table.name)}
        assert filled == {table.name for table in tables.values()}
        for name, found in rows.items():
            columns = tables[f"public.{name}"].columns
            assert all(set(row) <= set(columns.keys()) for row in found)
            for column in columns:
                longest = getattr(column.type, "length", None)
                if not column.nullable or isinstance(longest, int):
                    values = [row.get(column.name) for row in found]
                    assert column.nullable or None not in values, f"{name}.{column.name}"
                    assert all(len(value) <= longest for value in values if value and isinstance(longest, int))


def test_enum_labels_differ_between_the_generations_as_the_application_does() -> None:
    older, newer = enum_labels("A"), enum_labels("B")
    assert set(older) - set(newer) == {"attendancestatus", "absencereason", "entitytype"}
    assert set(newer) - set(older) == {"reporttype"}
    assert newer["userrole"] == ("GENERAL_ADMIN", "PROJECT_MANAGER", "HANDLER", "TRAINER", "BREEDER", "VET")
    grown = {name for name in older if name in newer and older[name] != newer[name]}
    assert grown == {"notificationtype", "auditaction", "userrole", "reportstatus"}
    assert all(newer[name][: len(older[name])] == older[name] for name in grown)
