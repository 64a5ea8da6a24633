"""Columns and parameters that several reports share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from k9ops.reports.definition import Column, Parameter
from k9ops.reports.reading import Reading
from k9ops.reports.words import Words

PERIOD = (
    Parameter("from", Words("من تاريخ", "From"), "date", default="last_month_start"),
    Parameter("to", Words("إلى تاريخ", "To"), "date", default="last_month_end"),
)
MONTH = Parameter("month", Words("الشهر", "Month"), "month", default="last_month")
PROJECT = Parameter("project", Words("المشروع", "Project"), "project")
DOG = Parameter("dog", Words("الكلب", "Dog"), "dog")
EMPLOYEE = Parameter("employee", Words("الموظف", "Employee"), "employee", is_private=True)

DATE = Column("date", Words("التاريخ", "Date"), 1.2, "date")
TIME = Column("time", Words("الوقت", "Time"), 0.8, "time")
DOG_NAME = Column("dog", Words("الكلب", "Dog"), 1.1)
DOG_CODE = Column("dog_code", Words("الرمز", "Code"), 0.9, "code")
PROJECT_NAME = Column("project", Words("المشروع", "Project"), 2.0)
NOTES = Column("notes", Words("ملاحظات", "Notes"), 2.2)


def status_parameter(choices: Mapping[str, Words]) -> Parameter:
    """Return the filter of a status."""
    return Parameter("status", Words("الحالة", "Status"), "choice", choices=choices)


def status_column(choices: Mapping[str, Words], width: float = 1.1) -> Column:
    """Return the column of a status, counted below the table."""
    return Column("status", Words("الحالة", "Status"), width, "word", choices, total="count_by")


def employee_name(reading: Reading, employee: Any) -> Any:
    """Return the name of an employee as people write it: generation B keeps the full one beside."""
    if reading.schema.has("employee", "full_name"):
        return func.coalesce(func.nullif(employee.c.full_name, ""), employee.c.name)
    return employee.c.name


def projects_of(reading: Reading, member: Any, column: str) -> Any:
    """Return the names of the projects that a dog or an employee belongs to, as a subquery of one value."""
    assignment, project = reading.table("project_assignment", "a"), reading.table("project", "p")
    return (
        select(func.string_agg(project.c.name, "، ").label("projects"))
        .select_from(assignment.join(project, project.c.id == assignment.c.project_id))
        .where(assignment.c[column] == member.c.id, assignment.c.is_active)
        .correlate(member)
        .scalar_subquery()
    )
