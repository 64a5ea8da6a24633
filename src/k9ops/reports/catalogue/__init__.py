"""Every report of the service, by its permanent key."""

from __future__ import annotations

from k9ops.errors import ReportUnknown
from k9ops.reports.catalogue.attendance import ATTENDANCE, ATTENDANCE_MONTHLY
from k9ops.reports.catalogue.care import CARETAKER_DAILY, CHECKUPS, FEEDING
from k9ops.reports.catalogue.dogs_work import BREEDING, TRAINING, VETERINARY
from k9ops.reports.catalogue.handler_reports import HANDLER_REPORT, HANDLER_REPORTS
from k9ops.reports.catalogue.incidents import INCIDENTS
from k9ops.reports.catalogue.members import DOGS, EMPLOYEES, PROJECTS
from k9ops.reports.catalogue.operations import OPERATIONS
from k9ops.reports.catalogue.schedules import DAILY_SCHEDULE
from k9ops.reports.definition import Report

REPORTS = {
    report.key: report
    for report in (
        *(DOGS, EMPLOYEES, PROJECTS, ATTENDANCE, ATTENDANCE_MONTHLY, DAILY_SCHEDULE, TRAINING, VETERINARY, BREEDING),
        *(FEEDING, CHECKUPS, CARETAKER_DAILY, HANDLER_REPORT, HANDLER_REPORTS, INCIDENTS, OPERATIONS),
    )
}


#: Of every report, as `hide_params` takes them: one that is private in one report is so in all.
PRIVATE_PARAMS = frozenset(
    f"params.{item.name}" for report in REPORTS.values() for item in report.parameters if item.is_private
)


def find_report(key: str) -> Report:
    """Return a report.

    Raises:
        ReportUnknown: Lists the reports that there are.
    """
    try:
        return REPORTS[key]
    except KeyError:
        raise ReportUnknown(f"There is no report {key!r}. The reports are: {', '.join(REPORTS)}.") from None
