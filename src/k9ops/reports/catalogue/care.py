"""Daily care: feeding, check-ups, what the caretakers did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import select

from k9ops.reports.catalogue.common import (
    DATE,
    DOG,
    DOG_CODE,
    DOG_NAME,
    EMPLOYEE,
    NOTES,
    PERIOD,
    PROJECT,
    TIME,
    employee_name,
)
from k9ops.reports.definition import Column, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import BODY_CONDITION, PREPARATION, Words

_PARTS = {
    "eyes": Words("العيون", "Eyes"),
    "ears": Words("الآذان", "Ears"),
    "nose": Words("الأنف", "Nose"),
    "front_legs": Words("الأمامية", "Front legs"),
    "hind_legs": Words("الخلفية", "Hind legs"),
    "coat": Words("الشعر", "Coat"),
    "tail": Words("الذيل", "Tail"),
}
_CHORES = {
    "house_clean": Words("تنظيف البيت", "House cleaned"),
    "house_vacuum": Words("شفط البيت", "House vacuumed"),
    "house_tap_clean": Words("تنظيف الصنبور", "Tap cleaned"),
    "house_drain_clean": Words("تنظيف المصرف", "Drain cleaned"),
    "dog_clean": Words("تنظيف الكلب", "Dog cleaned"),
    "dog_washed": Words("غسل الكلب", "Dog washed"),
    "dog_brushed": Words("تمشيط الكلب", "Dog brushed"),
    "bowls_bucket_clean": Words("تنظيف الأواني", "Bowls cleaned"),
}


def _read_log(reading: Reading, name: str, person: str, *columns: str) -> Iterable[Row]:
    """Read a care log: date, dog and person, and columns of its own."""
    log, dog, employee = reading.table(name), reading.table("dog"), reading.table("employee")
    at_time = [log.c.time] if "time" in log.c else []
    return reading.stream(
        select(
            log.c.date,
            *at_time,
            dog.c.name.label("dog"),
            dog.c.code.label("dog_code"),
            employee_name(reading, employee).label("person"),
            *(log.c[column] for column in columns),
        )
        .select_from(log.join(dog, dog.c.id == log.c.dog_id).outerjoin(employee, employee.c.id == log.c[person]))
        .where(reading.within(log.c.date))
        .where(reading.matches("project", log.c.project_id))
        .where(reading.matches("dog", log.c.dog_id))
        .where(reading.matches("employee", log.c[person]))
        .order_by(log.c.date, *at_time, dog.c.code, log.c.id)
    )


def _read_feeding(reading: Reading) -> Iterator[Row]:
    own = ("meal_type_fresh", "meal_type_dry", "meal_name", "prep_method", "grams", "water_ml", "supplements")
    for row in _read_log(reading, "feeding_log", "recorder_employee_id", *own, "body_condition", "notes"):
        yield {**row, "supplements": name_items(row["supplements"])}


def name_items(items: Any) -> str | None:
    """Return a JSON list of things (texts, or objects with a name and an amount) as one line; None for nothing."""
    if not isinstance(items, list):
        return str(items) if items else None
    return "، ".join(_name_item(item) for item in items) or None


def _name_item(item: Any) -> str:
    return " ".join(str(value) for value in item.values() if value) if isinstance(item, dict) else str(item)


_LOG_PARAMETERS = (*PERIOD, PROJECT, DOG, EMPLOYEE)

FEEDING = Report(
    key="feeding",
    title=Words("سجل التغذية", "Feeding"),
    about=Words("وجبات الكلاب وكمياتها وحالة الجسم.", "What each dog was fed, how much, and its condition."),
    tables=("feeding_log", "dog", "employee", "project"),
    parameters=_LOG_PARAMETERS,
    sections=(
        Section(
            "meals",
            Words("الوجبات", "Meals"),
            (
                DATE,
                TIME,
                DOG_NAME,
                DOG_CODE,
                Column("meal_name", Words("الوجبة", "Meal"), 1.6),
                Column("meal_type_fresh", Words("طازج", "Fresh"), 0.6, "yes_no"),
                Column("meal_type_dry", Words("جاف", "Dry"), 0.6, "yes_no"),
                Column("prep_method", Words("التحضير", "Preparation"), 1.0, "word", PREPARATION),
                Column("grams", Words("جرام", "Grams"), 0.7, "integer", total="sum"),
                Column("water_ml", Words("ماء (مل)", "Water (ml)"), 0.8, "integer", total="sum"),
                Column("supplements", Words("المكملات", "Supplements"), 1.4),
                Column(
                    "body_condition", Words("حالة الجسم", "Condition"), 1.2, "word", BODY_CONDITION, total="count_by"
                ),
                Column("person", Words("المسجل", "Recorded by"), 1.7),
                Column("notes", Words("ملاحظات", "Notes"), 1.4),
            ),
            _read_feeding,
        ),
    ),
)


def _read_checkups(reading: Reading) -> Iterable[Row]:
    own = ("severity", "symptoms", "initial_diagnosis", "suggested_treatment")
    return _read_log(reading, "daily_checkup_log", "examiner_employee_id", *_PARTS, *own)


CHECKUPS = Report(
    key="checkups",
    title=Words("الفحص اليومي", "Daily check-ups"),
    about=Words("الفحص اليومي لكل كلب.", "Each dog's daily check-up."),
    tables=("daily_checkup_log", "dog", "employee", "project"),
    parameters=_LOG_PARAMETERS,
    sections=(
        Section(
            "checkups",
            Words("الفحوص", "Check-ups"),
            (
                DATE,
                TIME,
                DOG_NAME,
                DOG_CODE,
                *(Column(key, header, 0.8) for key, header in _PARTS.items()),
                Column("severity", Words("الشدة", "Severity"), 0.8, total="count_by"),
                Column("symptoms", Words("الأعراض", "Symptoms"), 1.4),
                Column("initial_diagnosis", Words("التشخيص", "Diagnosis"), 1.3),
                Column("suggested_treatment", Words("العلاج المقترح", "Treatment"), 1.4),
                Column("person", Words("الفاحص", "Examiner"), 1.6),
            ),
            _read_checkups,
        ),
    ),
)


def _read_chores(reading: Reading) -> Iterable[Row]:
    return _read_log(reading, "caretaker_daily_log", "caretaker_employee_id", "kennel_code", *_CHORES, "notes")


CARETAKER_DAILY = Report(
    key="caretaker_daily",
    title=Words("سجل المربي اليومي", "Caretakers' daily log"),
    about=Words("ما أنجزه المربي لكل كلب وبيته.", "What was done for each dog and its kennel."),
    tables=("caretaker_daily_log", "dog", "employee", "project"),
    parameters=_LOG_PARAMETERS,
    sections=(
        Section(
            "chores",
            Words("الأعمال", "Chores"),
            (
                DATE,
                DOG_NAME,
                DOG_CODE,
                Column("kennel_code", Words("البيت", "Kennel"), 0.8, "code"),
                Column("person", Words("المربي", "Caretaker"), 1.7),
                *(Column(key, header, 0.8, "yes_no") for key, header in _CHORES.items()),
                NOTES,
            ),
            _read_chores,
        ),
    ),
)
