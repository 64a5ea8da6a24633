"""Scripted incidents under a controlled clock: exactly the expected messages on each channel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from k9ops.alerts.situation import DriveFacts, Room, read_situation
from k9ops.alerts.store import add_mute
from k9ops.db.audit import AuditEvent, append_event

from .conftest import NOON, Stage

Script = Callable[[Stage], None]
CHANNELS = ("webhook", "slack", "telegram", "notification")
INCIDENTS: list[tuple[Script, list[str]]] = []


def incident(*expected: str) -> Callable[[Script], Script]:
    def note(script: Script) -> Script:
        INCIDENTS.append((script, list(expected)))
        return script

    return note


def both(key: str) -> tuple[str, str]:
    return f"alert {key}", f"recovery {key}"


@incident(*both("scheduler_silent:"))
def scheduler_killed_for_ten_minutes(stage: Stage) -> None:
    stage.alive.remove("scheduler")
    stage.wait(minutes=10)
    stage.alive.add("scheduler")
    stage.wait(minutes=10)


@incident()
def scheduler_killed_and_back_at_once(stage: Stage) -> None:
    stage.alive.remove("scheduler")
    stage.wait(minutes=4)
    stage.alive.add("scheduler")
    stage.wait(minutes=10)


@incident(*both("queue_unserved:"))
def worker_killed_while_a_run_waits(stage: Stage) -> None:
    stage.alive.remove("worker")
    stage.waits("create_report", "reports")
    stage.wait(minutes=15)
    stage.alive.add("worker")
    stage.clear("create_report")
    stage.wait(minutes=10)


@incident()
def worker_killed_while_nothing_waits(stage: Stage) -> None:
    stage.alive.remove("worker")
    stage.wait(minutes=30)
    stage.alive.add("worker")
    stage.wait(minutes=10)


@incident(*both("queue_unserved:"))
def worker_of_backups_killed_while_a_backup_waits(stage: Stage) -> None:
    stage.alive.remove("backups")
    stage.waits("create_backup", "backups", slot=True)
    stage.wait(minutes=14)
    stage.alive.add("backups")
    stage.clear("create_backup")
    stage.wait(minutes=10)


@incident(*both("queue_unserved:"))
def all_workers_killed(stage: Stage) -> None:
    stage.alive -= {"worker", "backups"}
    stage.waits("create_report", "reports")
    stage.waits("verify_backup", "backups")
    stage.wait(minutes=60)
    stage.alive |= {"worker", "backups"}
    stage.clear("create_report")
    stage.clear("verify_backup")
    stage.wait(minutes=5)


@incident(*both("outbox_growing:"))
def redis_gone_for_ten_minutes(stage: Stage) -> None:
    for job in ("create_report", "clean_notifications"):
        stage.waits(job, "reports", is_sent=False)
    stage.wait(minutes=10)
    stage.clear("create_report")
    stage.clear("clean_notifications")
    stage.wait(minutes=5)


@incident()
def redis_gone_for_a_moment(stage: Stage) -> None:
    stage.waits("create_report", "reports", is_sent=False)
    stage.wait(minutes=3)
    stage.clear("create_report")
    stage.wait(minutes=10)


@incident(*both("queue_unserved:"))
def redis_and_worker_gone(stage: Stage) -> None:
    stage.alive.remove("worker")
    stage.waits("create_report", "reports", is_sent=False)
    stage.wait(minutes=10)
    stage.alive.add("worker")
    stage.clear("create_report")
    stage.wait(minutes=5)


@incident("alert queue_unserved:", "alert scheduler_silent:", "recovery queue_unserved:", "recovery scheduler_silent:")
def everything_but_a_watchman_killed(stage: Stage) -> None:
    stage.waits("create_report", "reports")
    stage.wait(minutes=1)
    stage.alive.clear()
    stage.wait(minutes=20)
    stage.alive |= {"worker", "backups", "scheduler"}
    stage.clear("create_report")
    stage.wait(minutes=5)


def _pause(stage: Stage, queue: str) -> None:
    stage.sql("INSERT INTO k9ops.queue_pause VALUES (:queue, :now, 'omar', 'The printer is moved.')", queue=queue)


def _resume(stage: Stage, queue: str) -> None:
    stage.sql("DELETE FROM k9ops.queue_pause WHERE queue = :queue", queue=queue)
    stage.sql(
        "INSERT INTO k9ops.audit_event (at, actor, action, target_type, target_id)"
        " VALUES (:now, 'omar', 'resume', 'queue', :queue)",
        queue=queue,
    )


@incident(*both("queue_paused:schedules"))
def queue_paused_while_its_worker_is_gone_and_a_slot_waits(stage: Stage) -> None:
    _pause(stage, "schedules")
    stage.alive.remove("worker")
    stage.waits("lock_schedules", "schedules", slot=True, is_sent=False)
    stage.wait(minutes=60)
    stage.alive.add("worker")
    _resume(stage, "schedules")
    stage.clear("lock_schedules")
    stage.wait(minutes=10)


@incident()
def queue_paused_for_a_moment(stage: Stage) -> None:
    _pause(stage, "schedules")
    stage.wait(minutes=4)
    _resume(stage, "schedules")
    stage.wait(minutes=10)


@incident("alert queue_paused:reports", "alert queue_unserved:", "recovery queue_unserved:")
def another_queue_is_unserved_while_one_is_paused(stage: Stage) -> None:
    _pause(stage, "reports")
    stage.waits("create_report", "reports")
    stage.wait(minutes=10)
    stage.alive.remove("backups")
    stage.waits("verify_backup", "backups")
    stage.wait(minutes=10)
    stage.alive.add("backups")
    stage.clear("verify_backup")
    stage.wait(minutes=5)


@incident(*both("workers_stuck:"))
def workers_alive_that_take_nothing(stage: Stage) -> None:
    stage.waits("create_report", "reports")
    stage.wait(minutes=25)
    stage.clear("create_report")
    stage.wait(minutes=5)


@incident()
def worker_busy_with_another_run(stage: Stage) -> None:
    stage.runs("verify_backup")
    stage.waits("apply_retention", "backups")
    stage.wait(minutes=25)
    stage.clear("verify_backup")
    stage.clear("apply_retention")
    stage.wait(minutes=5)


@incident(*both("run_failed:create_backup"))
def backup_failed_and_the_next_succeeded(stage: Stage) -> None:
    stage.ended("create_backup", state="failed", message="The disk is full.")
    stage.wait(hours=1)
    stage.ended("create_backup", evidence={"size_bytes": 1_000_000})
    stage.wait(minutes=5)


@incident(*both("run_failed:create_backup"))
def backup_failed_three_times(stage: Stage) -> None:
    for _ in range(3):
        stage.ended("create_backup", state="failed")
        stage.wait(minutes=30)
    stage.ended("create_backup", evidence={"size_bytes": 1_000_000})
    stage.wait(minutes=5)


@incident("alert run_failed:create_report", "alert run_failed:verify_backup")
def two_jobs_failed(stage: Stage) -> None:
    stage.ended("create_report", state="failed")
    stage.ended("verify_backup", state="failed")
    stage.wait(hours=1)


@incident(*both("run_failed:upload_backup"))
def upload_left_a_part_undone(stage: Stage) -> None:
    stage.ended("upload_backup", state="partial")
    stage.wait(minutes=5)
    stage.ended("upload_backup")
    stage.wait(minutes=5)


@incident("alert run_failed:clean_notifications")
def run_expired_before_it_started(stage: Stage) -> None:
    stage.ended("clean_notifications", state="expired")
    stage.wait(hours=1)


@incident(*both("run_failed:create_report"))
def failure_that_a_person_discards(stage: Stage) -> None:
    stage.ended("create_report", state="failed")
    stage.wait(hours=1)
    stage.sql("UPDATE k9ops.run SET acknowledged_at = :now WHERE job = 'create_report'")
    stage.wait(hours=1)


@incident()
def run_cancelled_by_a_person(stage: Stage) -> None:
    stage.ended("create_report", state="cancelled")
    stage.wait(hours=1)


@incident()
def one_canary_failed(stage: Stage) -> None:
    stage.ended("canary", state="failed")
    stage.wait(hours=1)


@incident("alert run_failed:create_report", "reminder run_failed:create_report", "recovery run_failed:create_report")
def failure_that_lasts_for_more_than_a_day(stage: Stage) -> None:
    stage.ended("create_report", state="failed")
    stage.wait(minutes=5)
    stage.settings = stage.settings.model_copy(update={"alert_remind_h": 2})
    stage.wait(hours=3)
    stage.ended("create_report")
    stage.wait(minutes=5)


def _mute(stage: Stage, rule: str, subject: str | None, hours: float) -> None:
    with stage.engine.begin() as connection:
        until = stage.now + timedelta(hours=hours)
        add_mute(connection, rule=rule, subject=subject, until=until, muted_by="omar", reason=None)


@incident()
def failure_while_its_rule_is_muted(stage: Stage) -> None:
    _mute(stage, "run_failed", None, 2)
    stage.ended("create_report", state="failed")
    stage.wait(hours=1)
    stage.ended("create_report")
    stage.wait(hours=2)


@incident("alert run_failed:create_report")
def failure_that_outlasts_the_mute(stage: Stage) -> None:
    _mute(stage, "*", None, 1)
    stage.ended("create_report", state="failed")
    stage.wait(hours=2)


@incident("alert run_failed:create_report")
def failure_while_another_subject_is_muted(stage: Stage) -> None:
    _mute(stage, "run_failed", "create_backup", 2)
    stage.ended("create_backup", state="failed")
    stage.ended("create_report", state="failed")
    stage.wait(hours=1)


@incident()
def failure_that_is_over_before_the_maintenance_ends(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"alert_maintenance": "Thu 12:00-13:00"})
    stage.ended("create_report", state="failed")
    stage.wait(minutes=30)
    stage.ended("create_report")
    stage.wait(hours=1)


@incident("alert run_failed:create_report")
def failure_that_outlasts_the_maintenance(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"alert_maintenance": "Wed 12:00-13:00, 12:00-12:30"})
    stage.ended("create_report", state="failed")
    stage.wait(hours=1)


@incident(*both("run_too_long:verify_backup"))
def run_takes_too_long(stage: Stage) -> None:
    stage.runs("verify_backup")
    stage.wait(minutes=40)
    stage.clear("verify_backup")
    stage.wait(minutes=5)


@incident()
def run_takes_as_long_as_it_usually_does(stage: Stage) -> None:
    for days in range(6, 0, -1):
        stage.ended("create_report", NOON - timedelta(days=days), duration_s=3600, is_slot=False)
    stage.runs("create_report")
    stage.wait(hours=1)
    stage.clear("create_report")


@incident(*both("run_too_short:verify_backup"))
def run_takes_too_short(stage: Stage) -> None:
    stage.ended("verify_backup", duration_s=2, is_slot=False)
    stage.wait(minutes=5)
    stage.ended("verify_backup", duration_s=80, is_slot=False)
    stage.wait(minutes=5)


@incident(*both("result_shrunk:create_backup"))
def backup_shrunk_to_half(stage: Stage) -> None:
    stage.ended("create_backup", evidence={"size_bytes": 500_000})
    stage.wait(minutes=5)
    stage.ended("create_backup", evidence={"size_bytes": 990_000})
    stage.wait(minutes=5)


@incident()
def backup_shrunk_a_little(stage: Stage) -> None:
    stage.ended("create_backup", evidence={"size_bytes": 700_000})
    stage.wait(minutes=30)


@incident(*both("result_shrunk:lock_schedules"))
def no_schedule_locked_on_an_ordinary_day(stage: Stage) -> None:
    stage.ended("lock_schedules", state="skipped", evidence={"locked": 0})
    stage.wait(minutes=5)
    stage.ended("lock_schedules", evidence={"locked": 9})
    stage.wait(minutes=5)


@incident()
def no_schedule_locked_on_the_weekly_day_of_rest(stage: Stage) -> None:
    stage.sql(
        "UPDATE k9ops.run SET state = 'skipped', evidence = '{\"locked\": 0}' WHERE job = 'lock_schedules'"
        " AND finished_at < :week",
        week=NOON - timedelta(days=6),
    )
    stage.ended("lock_schedules", NOON, state="skipped", evidence={"locked": 0})
    stage.wait(minutes=30)


@incident(*both("slot_missed:lock_schedules"))
def slot_missed(stage: Stage) -> None:
    stage.miss("lock_schedules")
    stage.wait(minutes=30)
    stage.slot("lock_schedules")
    stage.wait(minutes=5)


@incident()
def slot_missed_while_paused(stage: Stage) -> None:
    stage.sql("UPDATE k9ops.schedule SET paused_at = :now, paused_by = 'omar' WHERE name = 'lock_schedules'")
    stage.miss("lock_schedules")
    stage.wait(minutes=30)


@incident()
def slot_missed_while_paused_and_resumed_since(stage: Stage) -> None:
    stage.miss("lock_schedules")
    event = AuditEvent(actor="omar", action="resume", target_type="schedule", target_id="lock_schedules")
    with stage.engine.begin() as connection:
        append_event(connection, event)
    stage.wait(minutes=30)


@incident()
def slot_of_a_routine_job_missed(stage: Stage) -> None:
    stage.miss("canary")
    stage.wait(minutes=30)


@incident(*both("slot_late:create_backup"))
def slot_started_late(stage: Stage) -> None:
    stage.ended("create_backup", late_s=1800, evidence={"size_bytes": 1_000_000})
    stage.wait(minutes=5)
    stage.ended("create_backup", evidence={"size_bytes": 1_000_001})
    stage.wait(minutes=5)


@incident(*both("slot_late:create_backup"))
def slot_has_not_started(stage: Stage) -> None:
    stage.runs("verify_backup")
    stage.waits("create_backup", "backups", slot=True)
    stage.wait(minutes=20)
    stage.clear("verify_backup")
    stage.clear("create_backup")
    stage.sql("UPDATE k9ops.run SET started_at = slot WHERE job = 'create_backup' AND finished_at = :now")
    stage.wait(minutes=5)


@incident(*both("backup_old:"))
def no_backup_proven_for_too_long(stage: Stage) -> None:
    stage.sql(
        "DELETE FROM k9ops.run WHERE job = 'verify_backup' AND finished_at > :since", since=NOON - timedelta(hours=29)
    )
    stage.wait(hours=2)
    stage.sql("DELETE FROM k9ops.run WHERE job = 'verify_backup'")
    stage.wait(minutes=5)
    stage.ended("verify_backup", duration_s=90, is_slot=False)
    stage.wait(minutes=5)


@incident(*both("backup_old:"))
def backup_settings_that_cannot_be_read(stage: Stage) -> None:
    stage.sql("ALTER TABLE public.backup_settings RENAME backup_hour TO hour_of_backup")
    try:
        stage.sql("DELETE FROM k9ops.run WHERE job = 'verify_backup'")
        stage.wait(minutes=5)
    finally:
        stage.sql("ALTER TABLE public.backup_settings RENAME hour_of_backup TO backup_hour")
    stage.ended("verify_backup", duration_s=90, is_slot=False)
    stage.wait(minutes=5)


@incident()
def backups_switched_off(stage: Stage) -> None:
    stage.sql("UPDATE public.backup_settings SET auto_backup_enabled = false")
    stage.sql("DELETE FROM k9ops.run WHERE job = 'verify_backup'")
    stage.wait(minutes=30)


@incident(*both("run_failed:create_report"))
def report_of_one_schedule_failed_and_others_followed(stage: Stage) -> None:
    for days in range(2):
        slot = {"as_of": str(stage.now + timedelta(days=days))}
        state = "succeeded" if days else "failed"
        stage.ended("create_report", state=state, is_slot=False, params={"report": "dogs", **slot})
        for number in range(15):
            stage.ended("create_report", is_slot=False, params={"report": f"other{number}", **slot})
        stage.wait(minutes=10)


@incident(*both("run_failed:deliver_report"))
def report_reached_all_but_one(stage: Stage) -> None:
    for state in ("failed", "succeeded"):
        recipients = {"artefact_id": state, "recipient": "chief@unit.example"}
        stage.ended("deliver_report", state=state, is_slot=False, params=recipients)
        stage.now += timedelta(seconds=1)
        recipients["recipient"] = "folder:archive"
        stage.ended("deliver_report", is_slot=False, params=recipients)
        stage.wait(minutes=10)


@incident(*both("disk_full:"))
def disk_about_to_run_out(stage: Stage) -> None:
    usual = stage.settings
    stage.settings = usual.model_copy(update={"backup_min_free_bytes": 10**17})
    stage.wait(minutes=10)
    stage.settings = usual
    stage.wait(minutes=5)


@incident(*both("drive_refuses:"))
def consent_for_drive_revoked(stage: Stage) -> None:
    stage.drive = DriveFacts(problem="Google no longer accepts the credentials.")
    stage.ask_drive_again()
    stage.drive = DriveFacts(room=Room(50, 100))
    stage.ask_drive_again()


@incident(*both("drive_full:"))
def drive_about_to_run_out(stage: Stage) -> None:
    stage.drive = DriveFacts(room=Room(10**9, 10**11))
    stage.ask_drive_again()
    stage.drive = DriveFacts(room=Room(10**10, 10**11))
    stage.ask_drive_again()


@incident(*both("watch_interrupted:"))
def nobody_watched_for_an_hour(stage: Stage) -> None:
    stage.sleep(minutes=60)
    stage.wait(minutes=10)


@incident()
def nobody_watched_for_a_few_minutes(stage: Stage) -> None:
    stage.sleep(minutes=4)
    stage.wait(minutes=10)


@incident()
def failure_of_a_rule_that_is_switched_off(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"alert_off": "run_failed, disk_full"})
    stage.ended("create_report", state="failed")
    stage.wait(hours=1)


@pytest.mark.parametrize(("script", "expected"), INCIDENTS, ids=[script.__name__ for script, _ in INCIDENTS])
def test_incident_is_told_exactly_as_expected(stage: Stage, script: Script, expected: list[str]) -> None:
    script(stage)
    assert stage.told("webhook") == expected
    for channel in CHANNELS[1:]:
        assert stage.told(channel) == [item.split()[0] for item in expected], channel


def test_a_round_is_gone_when_the_application_keeps_its_settings_to_itself(stage: Stage) -> None:
    with stage.engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("CREATE ROLE k9ops_kept_out"))
        connection.execute(text("GRANT USAGE ON SCHEMA k9ops, public TO k9ops_kept_out"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA k9ops TO k9ops_kept_out"))
        connection.execute(text("SET LOCAL ROLE k9ops_kept_out"))
        found = read_situation(connection, stage.settings, now=stage.now, drive=DriveFacts(), last_round_at=None)
        transaction.rollback()
    assert found.wants_backups
    assert found.schedules


def test_there_are_forty_incidents() -> None:
    assert len(INCIDENTS) >= 40
