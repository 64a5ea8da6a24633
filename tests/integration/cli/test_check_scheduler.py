from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from k9ops.cli.checks.scheduler import check_scheduler
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.ledger.slots import pause_schedule, resume_schedule
from k9ops.periodic.timetable import build_timetable


@pytest.fixture
def decided(engine: Engine, settings: Settings) -> Engine:
    """A ledger in which every schedule was decided just now."""
    with engine.begin() as connection:
        for schedule in build_timetable(settings, BackupSettings()):
            connection.execute(
                text("INSERT INTO k9ops.schedule (name, dispatched_until) VALUES (:name, now())"),
                {"name": schedule.name},
            )
    return engine


def judge(settings: Settings) -> tuple[str, str]:
    (finding,) = check_scheduler(settings)
    return finding.status, finding.message


def age(engine: Engine, condition: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(f"UPDATE k9ops.schedule SET dispatched_until = now() - interval '1 hour' WHERE {condition}")
        )


def test_check_scheduler_passes_when_every_schedule_is_decided(decided: Engine, settings: Settings) -> None:
    assert judge(settings)[0] == "ok"


def test_check_scheduler_fails_when_one_schedule_is_left_behind(decided: Engine, settings: Settings) -> None:
    age(decided, "name = 'create_backup'")
    assert judge(settings) == ("fail", "Not decided lately: create_backup.")


def test_check_scheduler_fails_when_a_schedule_is_unknown_to_the_scheduler(decided: Engine, settings: Settings) -> None:
    with decided.begin() as connection:
        connection.execute(text("DELETE FROM k9ops.schedule WHERE name = 'canary'"))
    assert judge(settings) == ("fail", "Not decided lately: canary.")


def test_check_scheduler_is_not_deceived_by_a_schedule_that_a_person_resumed(
    decided: Engine, settings: Settings
) -> None:
    age(decided, "true")
    assert judge(settings) == ("fail", "No scheduler has rung for 1 h 0 min.")
    pause_schedule(decided, "create_backup", paused_by="operator")
    resume_schedule(decided, "create_backup", resumed_by="omar")
    assert judge(settings)[0] == "fail"


def test_check_scheduler_is_not_deceived_by_a_schedule_of_old_that_lies_ahead(
    decided: Engine, settings: Settings
) -> None:
    age(decided, "true")
    with decided.begin() as connection:
        connection.execute(text("INSERT INTO k9ops.schedule (name, dispatched_until) VALUES ('old', '2999-01-01Z')"))
    assert judge(settings)[0] == "fail"
