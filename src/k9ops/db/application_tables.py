"""The application's tables as SQLAlchemy Core tables, for both generations.

The application makes and migrates them itself; k9ops creates them for sample data and tests only. The module is
long because it is one list, and easier to compare with the application's models when it stays together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
)

from k9ops.db.application import APPLICATION_SCHEMA, Generation
from k9ops.db.application_enums import enum_labels

HEALTH_PARTS = (
    *("eyes", "nose", "ears", "mouth", "teeth", "gums"),
    *("front_limbs", "back_limbs", "hair", "tail", "rear"),
)
_NAMES = {
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}


def build_metadata(generation: Generation) -> MetaData:
    """Return all tables, enum types, constraints and indexes of one generation.

    Args:
        generation: `A` or `B`.
    """
    tables = _Tables(generation)
    tables.add_people()
    tables.add_dogs()
    tables.add_projects()
    tables.add_schedules()
    if generation == "A":
        tables.add_attendance()
    tables.add_training_and_medicine()
    tables.add_daily_care()
    tables.add_handler_reports()
    tables.add_handler_report_sections()
    tables.add_service()
    return tables.metadata


def _key() -> Column[Any]:
    return Column("id", Uuid, primary_key=True)


def _ref(name: str, target: str, *, required: bool = False, **rules: Any) -> Column[Any]:
    key = ForeignKey(f"{APPLICATION_SCHEMA}.{target}.id", **rules)
    return Column(name, Uuid, key, nullable=not required)


def _must(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _words(*names: str, length: int | None = None) -> list[Column[Any]]:
    return [Column(name, String(length) if length else Text()) for name in names]


def _times() -> list[Column[Any]]:
    return [_must("created_at", DateTime), _must("updated_at", DateTime)]


class _Tables:
    """Collects the tables of one generation in one MetaData."""

    def __init__(self, generation: Generation) -> None:
        self.is_b = generation == "B"
        self.metadata = MetaData(schema=APPLICATION_SCHEMA, naming_convention=_NAMES)
        self.enum = {
            name: Enum(*labels, name=name, metadata=self.metadata) for name, labels in enum_labels(generation).items()
        }

    def table(self, name: str, *parts: Any) -> None:
        Table(name, self.metadata, *parts)

    def if_a(self, *columns: Any) -> Iterable[Any]:
        return () if self.is_b else columns

    def if_b(self, *columns: Any) -> Iterable[Any]:
        return columns if self.is_b else ()

    def add_people(self) -> None:
        self.table(
            "employee",
            _key(),
            _must("name", String(100)),
            Column("employee_id", String(20), nullable=False, unique=True),
            _must("role", self.enum["employeerole"]),
            *_words("phone", length=20),
            *_words("email", length=120),
            _must("hire_date", Date),
            Column("is_active", Boolean),
            *self.if_b(Column("full_name", String(200))),
        )
        self.table(
            "user",
            _key(),
            Column("username", String(80), nullable=False, unique=True),
            Column("email", String(120), nullable=False, unique=True),
            _must("role", self.enum["userrole"]),
            _must("full_name", String(100)),
            Column("active", Boolean),
            *self.if_b(_ref("employee_id", "employee", required=True)),
            *_words("phone", length=20),
            _ref("project_id", "project", use_alter=True),
            _ref("dog_id", "dog", use_alter=True),
        )

    def add_dogs(self) -> None:
        self.table(
            "dog",
            _key(),
            _must("name", String(100)),
            Column("code", String(20), nullable=False, unique=True),
            _must("breed", String(100)),
            _must("gender", self.enum["doggender"]),
            _must("birth_date", Date),
            Column("microchip_id", String(50), unique=True),
            Column("current_status", self.enum["dogstatus"]),
            *_words("location", "specialization", length=100),
            *_words("color", length=50),
            Column("weight", Float),
            Column("height", Float),
            _ref("assigned_to_user_id", "user"),
        )
        self.table(
            "production_cycle",
            _key(),
            _ref("female_id", "dog", required=True),
            _ref("male_id", "dog", required=True),
            _must("cycle_type", self.enum["productioncycletype"]),
            Column("heat_start_date", Date),
            _must("mating_date", Date),
            Column("expected_delivery_date", Date),
            Column("actual_delivery_date", Date),
            Column("result", self.enum["productionresult"]),
            Column("number_of_puppies", Integer),
            Column("puppies_survived", Integer),
        )

    def add_projects(self) -> None:
        self.table(
            "project",
            _key(),
            _must("name", String(200)),
            Column("code", String(20), nullable=False, unique=True),
            Column("status", self.enum["projectstatus"]),
            _must("start_date", Date),
            Column("end_date", Date),
            *_words("location", length=200),
            *_words("priority", length=20),
            _ref("manager_id", "user"),
            _ref("project_manager_id", "employee"),
        )
        self.table(
            "project_assignment",
            _key(),
            _ref("project_id", "project", required=True),
            _ref("dog_id", "dog"),
            _ref("employee_id", "employee"),
            Column("is_active", Boolean),
            CheckConstraint("(dog_id IS NULL) <> (employee_id IS NULL)", name="one_member"),
        )
        self.table(
            "incident",
            _key(),
            _ref("project_id", "project", required=True),
            _must("name", String(200)),
            _must("incident_date", Date),
            _must("incident_time", Time),
            _must("incident_type", String(100)),
            *_words("description"),
            *_words("location", length=200),
            *_words("severity", length=20),
            Column("resolved", Boolean),
            Column("resolution_date", Date),
        )

    def add_schedules(self) -> None:
        shift = (_must("name", String(100)), _must("start_time", Time), _must("end_time", Time))
        self.table("shift", _key(), *shift, Column("is_active", Boolean))
        self.table(
            "daily_schedule",
            _key(),
            _must("date", Date),
            _ref("project_id", "project", required=self.is_b),
            _must("status", self.enum["schedulestatus"]),
            *_words("notes"),
            *self.if_b(Column("locked_at", DateTime)),
            *_times(),
            _ref("created_by_user_id", "user"),
            UniqueConstraint("date", "project_id"),
            Index(None, "date"),
            Index(None, "status"),
        )
        self.table(
            "daily_schedule_item",
            _key(),
            _ref("daily_schedule_id", "daily_schedule", required=True, ondelete="CASCADE"),
            _ref("handler_user_id", "user", required=True),
            _ref("dog_id", "dog"),
            _ref("shift_id", "shift"),
            *self.if_b(Column("location_id", Uuid)),
            _must("status", self.enum["scheduleitemstatus"]),
            _ref("replacement_handler_id", "user"),
            *_words("absence_reason", length=500),
            *_words("replacement_notes"),
            *_times(),
            Index(None, "daily_schedule_id"),
        )

    def add_attendance(self) -> None:
        status = self.enum["attendancestatus"]
        self.table(
            "project_shift",
            _key(),
            _ref("project_id", "project", required=True),
            _must("name", String(100)),
            _must("start_time", Time),
            _must("end_time", Time),
            Column("is_active", Boolean),
        )
        self.table(
            "attendance_day",
            _key(),
            _ref("employee_id", "employee", required=True),
            _must("date", Date),
            _must("status", status),
            *_words("note"),
            _must("source", String(16)),
            _ref("project_id", "project"),
            Column("locked", Boolean),
            UniqueConstraint("employee_id", "date"),
        )
        self.table(
            "project_attendance",
            _key(),
            _ref("project_id", "project", required=True),
            _ref("shift_id", "project_shift", required=True),
            _must("date", Date),
            _must("entity_type", self.enum["entitytype"]),
            _must("entity_id", Uuid),
            _must("status", status),
            Column("absence_reason", self.enum["absencereason"]),
            *_words("late_reason", "notes"),
            Column("check_in_time", Time),
            Column("check_out_time", Time),
        )

    def add_training_and_medicine(self) -> None:
        self.table(
            "training_session",
            _key(),
            _ref("dog_id", "dog", required=True),
            _ref("trainer_id", "employee", required=True),
            _ref("project_id", "project"),
            _must("category", self.enum["trainingcategory"]),
            _must("subject", String(200)),
            _must("session_date", DateTime),
            _must("duration", Integer),
            _must("success_rating", Integer),
            *_words("location", length=100),
            *_words("notes"),
        )
        self.table(
            "veterinary_visit",
            _key(),
            _ref("dog_id", "dog", required=True),
            _ref("vet_id", "employee", required=True),
            _ref("project_id", "project"),
            _must("visit_type", self.enum["visittype"]),
            _must("visit_date", DateTime),
            Column("weight", Float),
            Column("temperature", Float),
            Column("heart_rate", Integer),
            *_words("symptoms", "diagnosis", "treatment"),
            Column("medications", JSON),
            Column("vaccinations_given", JSON),
            Column("next_visit_date", Date),
            Column("cost", Float),
            *_words("notes"),
        )

    def care_log(self, name: str, person: str, *columns: Any, at_time: bool = True) -> None:
        self.table(
            name,
            _key(),
            _ref("project_id", "project"),
            _must("date", Date),
            *([_must("time", Time)] if at_time else []),
            _ref("dog_id", "dog", required=True),
            _ref(person, "employee"),
            *columns,
            *_words("notes"),
            Index(None, "date"),
        )

    def add_daily_care(self) -> None:
        self.care_log(
            "feeding_log",
            "recorder_employee_id",
            _must("meal_type_fresh", Boolean),
            _must("meal_type_dry", Boolean),
            *_words("meal_name", length=120),
            Column("prep_method", self.enum["prepmethod"]),
            Column("grams", Integer),
            Column("water_ml", Integer),
            Column("supplements", JSON),
            Column("body_condition", self.enum["bodyconditionscale"]),
        )
        parts = ("eyes", "ears", "nose", "front_legs", "hind_legs", "coat", "tail", "severity")
        self.care_log(
            "daily_checkup_log",
            "examiner_employee_id",
            *_words(*parts, length=50),
            *_words("symptoms", "initial_diagnosis", "suggested_treatment"),
        )
        chores = ("house_clean", "house_vacuum", "house_tap_clean", "house_drain_clean")
        grooming = ("dog_clean", "dog_washed", "dog_brushed", "bowls_bucket_clean")
        self.care_log(
            "caretaker_daily_log",
            "caretaker_employee_id",
            *_words("kennel_code", length=50),
            *(_must(chore, Boolean) for chore in (*chores, *grooming)),
            at_time=False,
        )

    def add_handler_reports(self) -> None:
        self.table(
            "handler_report",
            _key(),
            *self.if_b(_must("report_type", self.enum.get("reporttype"))),
            _must("date", Date),
            _ref("schedule_item_id", "daily_schedule_item"),
            _ref("handler_user_id", "user", required=True),
            _ref("dog_id", "dog", required=True),
            _ref("project_id", "project"),
            *_words("location", length=200),
            _must("status", self.enum["reportstatus"]),
            Column("submitted_at", DateTime),
            _ref("reviewed_by_user_id", "user"),
            Column("reviewed_at", DateTime),
            *_words("review_notes"),
            Index(None, "date"),
        )

    def report_section(self, name: str, *columns: Any, once: bool) -> None:
        report = _ref("report_id", "handler_report", required=True, ondelete="CASCADE")
        report.unique, report.index = once, not once
        self.table(f"handler_report_{name}", _key(), report, *columns)

    def add_handler_report_sections(self) -> None:
        health: list[Column[Any]] = []
        for part in HEALTH_PARTS:
            health += [
                Column(f"{part}_status", self.enum["healthcheckstatus"]),
                Column(f"{part}_notes", String(500)),
            ]
        self.report_section("health", *health, once=True)
        self.report_section(
            "training",
            _must("training_type", self.enum["trainingtype"]),
            *_words("description"),
            Column("time_from", Time),
            Column("time_to", Time),
            *_words("notes"),
            once=False,
        )
        self.report_section(
            "care",
            *_words("food_amount", "water_amount", length=100),
            *_words("food_type", "supplements", "excretion_location", length=200),
            Column("grooming_done", Boolean),
            Column("washing_done", Boolean),
            Column("stool_color", self.enum["stoolcolor"]),
            Column("stool_shape", self.enum["stoolshape"]),
            once=True,
        )
        self.report_section("behavior", *_words("good_behavior_notes", "bad_behavior_notes"), once=True)
        self.report_section(
            "incident",
            _must("incident_type", self.enum["incidenttype"]),
            _must("description", Text),
            Column("incident_datetime", DateTime),
            *_words("location", length=200),
            once=False,
        )

    def add_service(self) -> None:
        self.table(
            "notification",
            _key(),
            _ref("user_id", "user", required=True, ondelete="CASCADE"),
            _must("type", self.enum["notificationtype"]),
            _must("title", String(200)),
            _must("message", Text),
            *_words("related_id", length=36),
            *_words("related_type", length=50),
            Column("read", Boolean),
            Column("read_at", DateTime),
            _must("created_at", DateTime),
            Index(None, "created_at"),
            Index(None, "read"),
            Index(None, "user_id", "read"),
        )
        self.table(
            "backup_settings",
            Column("id", Integer, primary_key=True),
            _must("auto_backup_enabled", Boolean),
            _must("backup_frequency", self.enum["backupfrequency"]),
            _must("backup_hour", Integer),
            _must("retention_days", Integer),
            _must("google_drive_enabled", Boolean),
            *_words("google_drive_folder_id", length=255),
            *_words("google_drive_credentials"),
            Column("last_backup_at", DateTime),
            *_words("last_backup_status", length=50),
            *_words("last_backup_message"),
            *_times(),
            _ref("updated_by_user_id", "user"),
        )
        self.table(
            "audit_log",
            _key(),
            _ref("user_id", "user", required=True),
            _must("action", self.enum["auditaction"]),
            *_words("target_type", length=50),
            Column("target_id", Uuid),
            *_words("target_name", length=200),
            *_words("description"),
            Column("old_values", JSON),
            Column("new_values", JSON),
            *_words("ip_address", length=45),
            *_words("user_agent"),
            *_words("session_id", length=255),
            Column("extra_data", JSON),
            Column("created_at", DateTime),
            Index(None, "created_at"),
        )
