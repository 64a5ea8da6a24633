"""Sample handler reports, notifications, audit rows and the backup settings."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from k9ops.db.application_tables import HEALTH_PARTS
from k9ops.db.sample import names
from k9ops.db.sample.unit import Row, SampleUnit

_REPORTS = 1_200
_NOTIFICATIONS, _NOTIFICATION_DAYS = 6_000, 400
_AUDIT_ROWS = 300


def add_records(unit: SampleUnit) -> None:
    """Add what people reported, what they were told and what was written down about it."""
    _add_reports(unit)
    _add_notifications(unit)
    _add_audit(unit)


def add_backup_settings(unit: SampleUnit) -> None:
    """Add the one row of settings: a backup each day at two, kept for 30 days, no Drive."""
    now = datetime.combine(unit.today, time(5))
    row = unit.add(
        "backup_settings",
        auto_backup_enabled=True,
        backup_frequency="DAILY",
        backup_hour=2,
        retention_days=30,
        google_drive_enabled=False,
        created_at=now,
        updated_at=now,
        updated_by_user_id=unit.users("GENERAL_ADMIN")[0]["id"],
    )
    row["id"] = 1


def _add_reports(unit: SampleUnit) -> None:
    schedules = {row["id"]: row for row in unit.rows["daily_schedule"]}
    items = [row for row in unit.rows["daily_schedule_item"] if row["status"] == "PRESENT" and row["dog_id"]]
    for item in unit.random.sample(items, min(_REPORTS, len(items))):
        schedule = schedules[item["daily_schedule_id"]]
        report = _add_report(unit, item, schedule)
        _add_health_and_care(unit, report)
        for _ in range(unit.random.randrange(3)):
            start = unit.clock(6, 16)
            unit.add(
                "handler_report_training",
                report_id=report["id"],
                training_type=unit.label("trainingtype"),
                description=unit.pick(names.TRAINING_SUBJECTS),
                time_from=start,
                time_to=start.replace(hour=start.hour + 1),
                notes=unit.pick(names.TRAINING_NOTES),
            )
        if unit.chance(0.12):
            unit.add(
                "handler_report_incident",
                report_id=report["id"],
                incident_type=unit.label("incidenttype"),
                description=unit.pick(names.INCIDENT_DETAILS),
                incident_datetime=unit.moment(report["date"]),
                location=report["location"],
            )


def _add_report(unit: SampleUnit, item: Row, schedule: Row) -> Row:
    status = unit.label("reportstatus")
    is_sent = status != "DRAFT"
    is_reviewed = is_sent and status != "SUBMITTED"
    sent_at = unit.moment(schedule["date"], from_hour=12, to_hour=20)
    return unit.add(
        "handler_report",
        **unit.if_b(lambda: {"report_type": unit.label("reporttype")}),
        date=schedule["date"],
        schedule_item_id=item["id"],
        handler_user_id=item["handler_user_id"],
        dog_id=item["dog_id"],
        project_id=schedule["project_id"],
        location=unit.pick(names.PROJECTS)[1],
        status=status,
        submitted_at=sent_at if is_sent else None,
        reviewed_by_user_id=schedule["created_by_user_id"] if is_reviewed else None,
        reviewed_at=sent_at + timedelta(hours=3) if is_reviewed else None,
        review_notes=unit.pick(names.REVIEW_NOTES) if is_reviewed else None,
    )


def _add_health_and_care(unit: SampleUnit, report: Row) -> None:
    health: Row = {}
    for part in HEALTH_PARTS:
        status = unit.random.choices(("NORMAL", "ABNORMAL", "NEEDS_ATTENTION"), (94, 2, 4))[0]
        health[f"{part}_status"] = status
        health[f"{part}_notes"] = None if status == "NORMAL" else unit.pick(names.SYMPTOMS)
    unit.add("handler_report_health", report_id=report["id"], **health)
    unit.add(
        "handler_report_care",
        report_id=report["id"],
        food_amount=f"{unit.pick((400, 500, 600))} جم",
        water_amount="1.5 لتر",
        food_type=unit.pick(names.MEALS),
        supplements=unit.pick(names.SUPPLEMENTS),
        excretion_location="المنطقة المخصصة",
        grooming_done=unit.chance(0.8),
        washing_done=unit.chance(0.2),
        stool_color=unit.random.choices(("BROWN", "YELLOW", "GREEN"), (92, 6, 2))[0],
        stool_shape=unit.random.choices(("NORMAL", "SOFT", "HARD"), (90, 7, 3))[0],
    )
    unit.add(
        "handler_report_behavior",
        report_id=report["id"],
        good_behavior_notes=unit.pick(names.GOOD_BEHAVIOR),
        bad_behavior_notes=unit.pick(names.BAD_BEHAVIOR),
    )


def _add_notifications(unit: SampleUnit) -> None:
    schedules, days = unit.rows["daily_schedule"], unit.days(_NOTIFICATION_DAYS, ending_in_days=-1)
    for _ in range(_NOTIFICATIONS):
        kind, day = unit.label("notificationtype"), unit.pick(days)
        title, message = names.NOTIFICATIONS[kind]
        created_at = unit.moment(day, from_hour=0, to_hour=24)
        read = unit.random.choices((True, False, None), (65, 25, 10))[0]
        unit.add(
            "notification",
            user_id=unit.pick(unit.rows["user"])["id"],
            type=kind,
            title=title,
            message=message.format(
                day=f"{day:%d/%m/%Y}",
                project=unit.pick(names.PROJECTS)[0],
                person=unit.pick(unit.rows["user"])["full_name"],
                dog=unit.pick(unit.rows["dog"])["name"],
            ),
            related_id=str(unit.pick(schedules)["id"]),
            related_type="DailySchedule",
            read=read,
            read_at=created_at + timedelta(minutes=unit.random.randrange(1, 240)) if read else None,
            created_at=created_at,
        )


def _add_audit(unit: SampleUnit) -> None:
    for _ in range(_AUDIT_ROWS):
        user, project = unit.pick(unit.users("GENERAL_ADMIN", "PROJECT_MANAGER")), unit.pick(unit.rows["project"])
        unit.add(
            "audit_log",
            user_id=user["id"],
            action=unit.label("auditaction"),
            target_type="Project",
            target_id=project["id"],
            target_name=project["name"],
            description=f"قام {user['full_name']} بتحديث المشروع {project['code']}",
            old_values={"priority": "LOW"},
            new_values={"priority": project["priority"]},
            ip_address=f"10.20.{unit.random.randrange(256)}.{unit.random.randrange(1, 255)}",
            user_agent="Mozilla/5.0",
            session_id=None,
            extra_data=None,
            created_at=unit.moment(unit.pick(unit.days(120, ending_in_days=-1)), from_hour=0, to_hour=24),
        )
