"""The tables against the application's own list of columns, written here by hand, not drawn from the code."""

from __future__ import annotations

import pytest
from sqlalchemy import DateTime

from k9ops.db.application import Generation
from k9ops.db.application_enums import enum_labels
from k9ops.db.application_tables import build_metadata

BOTH = {
    "notification": "id user_id type title message related_id related_type read read_at created_at",
    "daily_schedule": "id date project_id status notes created_at updated_at created_by_user_id",
    "backup_settings": (
        "id auto_backup_enabled backup_frequency backup_hour retention_days google_drive_enabled"
        " google_drive_folder_id google_drive_credentials last_backup_at last_backup_status last_backup_message"
        " created_at updated_at updated_by_user_id"
    ),
    "audit_log": (
        "id user_id action target_type target_id target_name description old_values new_values ip_address"
        " user_agent session_id extra_data created_at"
    ),
    "user": "id username email role full_name active phone project_id dog_id",
    "employee": "id name employee_id role phone email hire_date is_active",
    "dog": (
        "id name code breed gender birth_date microchip_id current_status location specialization color weight"
        " height assigned_to_user_id"
    ),
    "project": "id name code status start_date end_date location priority manager_id project_manager_id",
    "project_assignment": "id project_id dog_id employee_id is_active",
    "shift": "id name start_time end_time is_active",
    "daily_schedule_item": (
        "id daily_schedule_id handler_user_id dog_id shift_id status replacement_handler_id absence_reason"
        " replacement_notes created_at updated_at"
    ),
    "training_session": (
        "id dog_id trainer_id project_id category subject session_date duration success_rating location notes"
    ),
    "veterinary_visit": (
        "id dog_id vet_id project_id visit_type visit_date weight temperature heart_rate symptoms diagnosis"
        " treatment medications vaccinations_given next_visit_date cost notes"
    ),
    "production_cycle": (
        "id female_id male_id cycle_type heat_start_date mating_date expected_delivery_date actual_delivery_date"
        " result number_of_puppies puppies_survived"
    ),
    "feeding_log": (
        "id project_id date time dog_id recorder_employee_id meal_type_fresh meal_type_dry meal_name prep_method"
        " grams water_ml supplements body_condition notes"
    ),
    "daily_checkup_log": (
        "id project_id date time dog_id examiner_employee_id eyes ears nose front_legs hind_legs coat tail severity"
        " symptoms initial_diagnosis suggested_treatment notes"
    ),
    "caretaker_daily_log": (
        "id date project_id dog_id caretaker_employee_id kennel_code house_clean house_vacuum house_tap_clean"
        " house_drain_clean dog_clean dog_washed dog_brushed bowls_bucket_clean notes"
    ),
    "handler_report": (
        "id date schedule_item_id handler_user_id dog_id project_id location status submitted_at"
        " reviewed_by_user_id reviewed_at review_notes"
    ),
    "handler_report_health": (
        "id report_id eyes_status eyes_notes nose_status nose_notes ears_status ears_notes mouth_status mouth_notes"
        " teeth_status teeth_notes gums_status gums_notes front_limbs_status front_limbs_notes back_limbs_status"
        " back_limbs_notes hair_status hair_notes tail_status tail_notes rear_status rear_notes"
    ),
    "handler_report_training": "id report_id training_type description time_from time_to notes",
    "handler_report_care": (
        "id report_id food_amount water_amount food_type supplements excretion_location grooming_done washing_done"
        " stool_color stool_shape"
    ),
    "handler_report_behavior": "id report_id good_behavior_notes bad_behavior_notes",
    "handler_report_incident": "id report_id incident_type description incident_datetime location",
    "incident": (
        "id project_id name incident_date incident_time incident_type description location severity resolved"
        " resolution_date"
    ),
}
ONLY_A = {
    "project_shift": "id project_id name start_time end_time is_active",
    "attendance_day": "id employee_id date status note source project_id locked",
    "project_attendance": (
        "id project_id shift_id date entity_type entity_id status absence_reason late_reason notes check_in_time"
        " check_out_time"
    ),
}
MORE_IN_B = {
    "user": "employee_id",
    "employee": "full_name",
    "daily_schedule": "locked_at",
    "daily_schedule_item": "location_id",
    "handler_report": "report_type",
}


def expected_columns(generation: Generation) -> dict[str, set[str]]:
    tables = BOTH | (ONLY_A if generation == "A" else {})
    more = MORE_IN_B if generation == "B" else {}
    return {name: {*words.split(), *more.get(name, "").split()} for name, words in tables.items()}


@pytest.mark.parametrize("generation", ["A", "B"])
def test_build_metadata_has_the_tables_and_columns_of_the_application(generation: Generation) -> None:
    tables = build_metadata(generation).tables.values()
    assert {table.name: set(table.columns.keys()) for table in tables} == expected_columns(generation)


@pytest.mark.parametrize(
    ("column", "nullable_in"),
    [
        ("daily_schedule.project_id", "A"),
        ("daily_schedule.locked_at", "B"),
        ("user.employee_id", ""),
        ("handler_report.report_type", ""),
        ("notification.read", "AB"),
        ("project_assignment.dog_id", "AB"),
        ("audit_log.user_id", ""),
    ],
)
def test_build_metadata_allows_null_where_the_application_does(column: str, nullable_in: str) -> None:
    table, name = column.split(".")
    generations: tuple[Generation, ...] = ("A", "B")
    for generation in generations:
        found = build_metadata(generation).tables[f"public.{table}"].columns.get(name)
        if found is not None:
            assert found.nullable is (generation in nullable_in), generation


@pytest.mark.parametrize("generation", ["A", "B"])
def test_build_metadata_keeps_every_timestamp_without_time_zone(generation: Generation) -> None:
    for table in build_metadata(generation).tables.values():
        for column in table.columns:
            assert not (isinstance(column.type, DateTime) and column.type.timezone), f"{table.name}.{column.name}"


@pytest.mark.parametrize(
    ("enum", "labels"),
    [
        (
            "notificationtype",
            (
                "SCHEDULE_CREATED EMPLOYEE_REPLACED TASK_ASSIGNED REPORT_SUBMITTED REPORT_APPROVED REPORT_REJECTED"
                " REPORT_EDITS_REQUESTED REPORT_FORWARDED_TO_ADMIN"
            ),
        ),
        (
            "auditaction",
            "CREATE EDIT UPDATE DELETE EXPORT LOGIN LOGOUT SECURITY_EVENT MODE_SELECTION MODE_SWITCH SETUP",
        ),
        ("userrole", "GENERAL_ADMIN PROJECT_MANAGER HANDLER TRAINER BREEDER VET"),
        (
            "reportstatus",
            (
                "DRAFT SUBMITTED APPROVED REJECTED APPROVED_BY_PM FORWARDED_TO_ADMIN REJECTED_BY_PM APPROVED_BY_ADMIN"
                " REJECTED_BY_ADMIN"
            ),
        ),
        ("reporttype", "SHIFT DAILY"),
    ],
)
def test_enum_labels_are_the_newer_applications_in_generation_b(enum: str, labels: str) -> None:
    assert " ".join(enum_labels("B")[enum]) == labels
