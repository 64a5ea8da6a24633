"""The enum types of the application's database, for both generations."""

from __future__ import annotations

from collections.abc import Mapping

from k9ops.db.application import Generation

_BOTH: dict[str, str] = {
    "schedulestatus": "OPEN LOCKED",
    "scheduleitemstatus": "PLANNED PRESENT ABSENT REPLACED",
    "notificationtype": (
        "SCHEDULE_CREATED EMPLOYEE_REPLACED TASK_ASSIGNED REPORT_SUBMITTED REPORT_APPROVED REPORT_REJECTED"
    ),
    "backupfrequency": "DISABLED DAILY WEEKLY MONTHLY",
    "auditaction": "CREATE EDIT UPDATE DELETE EXPORT LOGIN LOGOUT SECURITY_EVENT",
    "userrole": "GENERAL_ADMIN PROJECT_MANAGER HANDLER",
    "employeerole": "HANDLER TRAINER BREEDER VET PROJECT_MANAGER",
    "doggender": "MALE FEMALE",
    "dogstatus": "ACTIVE RETIRED DECEASED TRAINING",
    "projectstatus": "PLANNED ACTIVE COMPLETED CANCELLED",
    "trainingcategory": "OBEDIENCE DETECTION AGILITY ATTACK FITNESS SOCIALIZATION BALL_WORK OTHER",
    "visittype": "ROUTINE EMERGENCY VACCINATION",
    "productioncycletype": "NATURAL ARTIFICIAL",
    "productionresult": "SUCCESSFUL FAILED UNKNOWN",
    "prepmethod": "BOILED STEAMED SOAKED OTHER",
    "bodyconditionscale": "VERY_THIN THIN BELOW_IDEAL NEAR_IDEAL IDEAL ABOVE_IDEAL FULL OBESE VERY_OBESE",
    "healthcheckstatus": "NORMAL ABNORMAL NEEDS_ATTENTION",
    "trainingtype": "FITNESS AGILITY OBEDIENCE BALL EXPLOSIVES OTHER",
    "incidenttype": "SUSPICION DETECTION",
    "stoolcolor": "BROWN YELLOW GREEN BLACK RED WHITE",
    "stoolshape": "NORMAL HARD SOFT LIQUID",
    "reportstatus": "DRAFT SUBMITTED APPROVED REJECTED",
}
_ONLY_A: dict[str, str] = {
    "attendancestatus": "PRESENT ABSENT LATE SICK LEAVE REMOTE OVERTIME",
    "absencereason": "ANNUAL SICK EMERGENCY TRAINING MISSION NO_REASON OTHER",
    "entitytype": "EMPLOYEE DOG",
}
_ONLY_B: dict[str, str] = {"reporttype": "SHIFT DAILY"}
_MORE_IN_B: dict[str, str] = {
    "notificationtype": "REPORT_EDITS_REQUESTED REPORT_FORWARDED_TO_ADMIN",
    "auditaction": "MODE_SELECTION MODE_SWITCH SETUP",
    "userrole": "TRAINER BREEDER VET",
    "reportstatus": "APPROVED_BY_PM FORWARDED_TO_ADMIN REJECTED_BY_PM APPROVED_BY_ADMIN REJECTED_BY_ADMIN",
}


def enum_labels(generation: Generation) -> Mapping[str, tuple[str, ...]]:
    """Return the labels of each enum type, in the order of the database."""
    labels = _BOTH | (_ONLY_A if generation == "A" else _ONLY_B)
    more = _MORE_IN_B if generation == "B" else {}
    return {name: tuple(f"{words} {more.get(name, '')}".split()) for name, words in labels.items()}
