"""The month on two pages: counts, trends, what is overdue, the state of the backups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import Integer, Text, case, cast, func, select

from k9ops.db.own_tables import run
from k9ops.reports.catalogue.attendance import select_attendance
from k9ops.reports.catalogue.common import MONTH
from k9ops.reports.catalogue.dogs_work import DUE_VISITS
from k9ops.reports.definition import Chart, Column, Report, Row, Section
from k9ops.reports.parameters import Month
from k9ops.reports.reading import Reading
from k9ops.reports.words import BACKUP_STATUS, Words, label_words

_METRICS = label_words(
    dogs="كلاب في الخدمة|Dogs on duty",
    employees="موظفون على رأس العمل|Active employees",
    projects="مشاريع نشطة|Active projects",
    attendance="سجلات الحضور|Attendance entries",
    absent="منها غياب|of these absent",
    training="جلسات تدريب|Training sessions",
    visits="زيارات بيطرية|Veterinary visits",
    reports="تقارير السائسين|Handlers' reports",
    incidents="حوادث|Incidents",
)
_OPEN = label_words(
    schedules="جداول سابقة غير مقفلة|Past schedules still open",
    incidents="حوادث لم تحل|Incidents not resolved",
    reports="تقارير بانتظار المراجعة|Reports waiting for review",
)
_BACKUP_JOBS = label_words(
    create_backup="إنشاء نسخة|Backup made",
    verify_backup="التحقق من نسخة|Backup verified",
    apply_retention="حذف النسخ القديمة|Old backups deleted",
)


def _read_counts(reading: Reading) -> Iterator[Row]:
    month: Month = reading.values["month"]
    dog, employee, project = reading.table("dog"), reading.table("employee"), reading.table("project")
    training, visit = reading.table("training_session"), reading.table("veterinary_visit")
    report, incident = reading.table("handler_report"), reading.table("incident")
    attendance = select_attendance(reading)
    in_month = reading.within_month(attendance.c.date)
    counts = {
        "dogs": select(func.count()).where(dog.c.current_status.in_(("ACTIVE", "TRAINING"))),
        "employees": select(func.count()).where(func.coalesce(employee.c.is_active, True)),
        "projects": select(func.count()).where(project.c.status == "ACTIVE"),
        "attendance": select(func.count()).select_from(attendance).where(in_month),
        "absent": select(func.count()).select_from(attendance).where(in_month, attendance.c.status == "ABSENT"),
        "training": select(func.count()).where(reading.within_local(training.c.session_date, month.first, month.last)),
        "visits": select(func.count()).where(reading.within_local(visit.c.visit_date, month.first, month.last)),
        "reports": select(func.count()).where(reading.within_month(report.c.date)),
        "incidents": select(func.count()).where(reading.within_month(incident.c.incident_date)),
    }
    for metric, statement in counts.items():
        yield {"metric": metric, "count": reading.scalar(statement)}


def _count_by_week(reading: Reading, day: Any, source: Any, *conditions: Any) -> Iterator[Row]:
    """Count rows by week of the month: days 1-7, 8-14, 15-21, 22-28 and the rest; a week without rows has 0."""
    month: Month = reading.values["month"]
    week = (func.extract("day", day).cast(Integer) - 1) // 7
    statement = (
        select(week.label("week"), func.count().label("count")).select_from(source).where(*conditions).group_by(week)
    )
    found = {int(row["week"]): row["count"] for row in reading.stream(statement)}
    for number in range((month.last.day + 6) // 7):
        first = month.first + timedelta(days=7 * number)
        last = min(month.last, first + timedelta(days=6))
        yield {"week": f"{first.day}-{last.day}", "count": found.get(number, 0)}


def _read_absences(reading: Reading) -> Iterator[Row]:
    attendance = select_attendance(reading)
    wanted = (reading.within_month(attendance.c.date), attendance.c.status == "ABSENT")
    return _count_by_week(reading, attendance.c.date, attendance, *wanted)


def _read_training(reading: Reading) -> Iterator[Row]:
    session, month = reading.table("training_session"), reading.values["month"]
    local = func.timezone(reading.zone.key, func.timezone("UTC", session.c.session_date))
    wanted = reading.within_local(session.c.session_date, month.first, month.last)
    return _count_by_week(reading, local, session, wanted)


def _read_incidents(reading: Reading) -> Iterator[Row]:
    incident = reading.table("incident")
    return _count_by_week(reading, incident.c.incident_date, incident, reading.within_month(incident.c.incident_date))


def _read_open(reading: Reading) -> Iterator[Row]:
    schedule, incident = reading.table("daily_schedule"), reading.table("incident")
    report = reading.table("handler_report")
    waiting = cast(report.c.status, Text).in_(("SUBMITTED", "FORWARDED_TO_ADMIN"))
    questions = {
        "schedules": (schedule.c.date, (schedule.c.status == "OPEN", schedule.c.date < reading.today)),
        "incidents": (incident.c.incident_date, (~func.coalesce(incident.c.resolved, False),)),
        "reports": (report.c.date, (waiting,)),
    }
    for what, (day, conditions) in questions.items():
        found = next(
            iter(reading.stream(select(func.count().label("count"), func.min(day).label("oldest")).where(*conditions)))
        )
        yield {"what": what, "count": found["count"], "oldest": found["oldest"]}


def _read_backups(reading: Reading) -> Iterator[Row]:
    month: Month = reading.values["month"]
    first = reading.to_utc(month.first).replace(tzinfo=UTC)
    last = reading.to_utc(month.last + timedelta(days=1)).replace(tzinfo=UTC)
    for job in _BACKUP_JOBS:
        statement = select(
            func.count().filter(run.c.state == "succeeded").label("succeeded"),
            func.count().filter(run.c.state.in_(("failed", "partial", "expired"))).label("failed"),
            func.max(case((run.c.state == "succeeded", func.timezone("UTC", run.c.finished_at)))).label("last"),
        ).where(run.c.job == job, run.c.created_at >= first, run.c.created_at < last)
        yield {"job": job, **next(iter(reading.stream(statement)))}


def _read_last_backup(reading: Reading) -> Iterable[Row]:
    if not reading.schema.has("backup_settings"):
        return ()
    settings = reading.table("backup_settings")
    return reading.stream(
        select(
            settings.c.auto_backup_enabled.label("enabled"),
            settings.c.last_backup_at.label("at"),
            settings.c.last_backup_status.label("status"),
            settings.c.last_backup_message.label("message"),
        )
        .order_by(settings.c.id)
        .limit(1)
    )


def _trend(key: str, title: Words, read: Any) -> Section:
    columns = (
        Column("week", Words("الأيام", "Days"), 1.0, "code"),
        Column("count", Words("العدد", "Count"), 1.0, "integer", total="sum"),
    )
    return Section(key, title, columns, read, chart=Chart("week", "count"))


OPERATIONS = Report(
    key="operations",
    title=Words("تقرير العمليات الشهري", "Operations of the month"),
    about=Words(
        "الشهر في صفحتين: الأعداد والاتجاهات والمتأخرات وحالة النسخ الاحتياطية.",
        "The month on two pages: counts, trends, what is overdue, the state of the backups.",
    ),
    tables=(
        *("dog", "employee", "project", "training_session", "veterinary_visit", "handler_report", "incident"),
        *("daily_schedule", "project"),
    ),
    tables_of={
        "A": ("attendance_day", "project_attendance", "project_shift"),
        "B": ("daily_schedule_item", "shift", "user"),
    },
    parameters=(MONTH,),
    is_landscape=False,
    sections=(
        Section(
            "counts",
            Words("أعداد الشهر", "The month in numbers"),
            (
                Column("metric", Words("البند", "What"), 3.0, "word", _METRICS),
                Column("count", Words("العدد", "Count"), 1.0, "integer"),
            ),
            _read_counts,
            is_counted=False,
        ),
        _trend("absences", Words("الغياب حسب الأسبوع", "Absences by week"), _read_absences),
        _trend("training", Words("التدريب حسب الأسبوع", "Training by week"), _read_training),
        _trend("incidents", Words("الحوادث حسب الأسبوع", "Incidents by week"), _read_incidents),
        Section(
            "open",
            Words("المتأخرات", "Overdue"),
            (
                Column("what", Words("البند", "What"), 3.0, "word", _OPEN),
                Column("count", Words("العدد", "Count"), 1.0, "integer"),
                Column("oldest", Words("الأقدم", "Oldest"), 1.3, "date"),
            ),
            _read_open,
            is_counted=False,
        ),
        DUE_VISITS,
        Section(
            "backups",
            Words("أعمال النسخ الاحتياطي في الشهر", "Backup jobs of the month"),
            (
                Column("job", Words("العمل", "Job"), 2.0, "word", _BACKUP_JOBS),
                Column("succeeded", Words("نجح", "Succeeded"), 0.8, "integer"),
                Column("failed", Words("لم ينجح", "Did not"), 0.8, "integer"),
                Column("last", Words("آخر نجاح", "Last success"), 1.5, "moment"),
            ),
            _read_backups,
            is_counted=False,
        ),
        Section(
            "last_backup",
            Words("النسخ الاحتياطي الآن", "Backups now"),
            (
                Column("enabled", Words("مفعل", "Switched on"), 0.8, "yes_no"),
                Column("at", Words("آخر نسخة", "Last backup"), 1.5, "moment"),
                Column("status", Words("الحالة", "Status"), 1.0, "word", BACKUP_STATUS),
                Column("message", Words("الرسالة", "Message"), 4.0),
            ),
            _read_last_backup,
            is_counted=False,
        ),
    ),
)
