"""Reports on who and what there is: dogs, employees, projects."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import and_, func, select, true

from k9ops.reports.catalogue.common import PROJECT, employee_name, projects_of, status_column, status_parameter
from k9ops.reports.definition import Column, Parameter, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import DOG_STATUS, EMPLOYEE_ROLE, GENDER, PRIORITY, PROJECT_STATUS, YES_NO, Words

_DAYS_PER_YEAR = 365.25


def _read_dogs(reading: Reading) -> Iterable[Row]:
    dog, user = reading.table("dog"), reading.table("user")
    assignment = reading.table("project_assignment")
    project = reading.values["project"]
    members = select(assignment.c.dog_id).where(assignment.c.project_id == project, assignment.c.is_active)
    age = func.round((reading.today - dog.c.birth_date) / _DAYS_PER_YEAR * 10) / 10
    return reading.stream(
        select(
            dog.c.code,
            dog.c.name,
            dog.c.breed,
            dog.c.gender,
            dog.c.birth_date,
            age.label("age"),
            dog.c.microchip_id.label("microchip"),
            dog.c.specialization,
            dog.c.current_status.label("status"),
            user.c.full_name.label("handler"),
            projects_of(reading, dog, "dog_id").label("projects"),
            dog.c.weight,
        )
        .select_from(dog.outerjoin(user, user.c.id == dog.c.assigned_to_user_id))
        .where(reading.matches("status", dog.c.current_status))
        .where(dog.c.id.in_(members) if project else true())
        .order_by(dog.c.code)
    )


DOGS = Report(
    key="dogs",
    title=Words("سجل الكلاب", "Dogs"),
    about=Words("كل كلاب الوحدة مع السائس والمشروع.", "Every dog of the unit with its handler and project."),
    tables=("dog", "user", "project", "project_assignment"),
    parameters=(status_parameter(DOG_STATUS), PROJECT),
    sections=(
        Section(
            "dogs",
            Words("الكلاب", "Dogs"),
            (
                Column("code", Words("الرمز", "Code"), 0.9, "code"),
                Column("name", Words("الاسم", "Name"), 1.1),
                Column("breed", Words("السلالة", "Breed"), 1.5),
                Column("gender", Words("الجنس", "Sex"), 0.7, "word", GENDER, total="count_by"),
                Column("birth_date", Words("الميلاد", "Born"), 1.1, "date"),
                Column("age", Words("العمر", "Age"), 0.7, "decimal"),
                Column("microchip", Words("الشريحة", "Microchip"), 1.6, "code"),
                Column("specialization", Words("التخصص", "Specialization"), 1.5),
                status_column(DOG_STATUS),
                Column("handler", Words("السائس", "Handler"), 1.9),
                Column("projects", Words("المشاريع", "Projects"), 2.0),
                Column("weight", Words("الوزن (كجم)", "Weight (kg)"), 0.8, "decimal", total="average"),
            ),
            _read_dogs,
        ),
    ),
)


def _read_employees(reading: Reading) -> Iterable[Row]:
    employee, assignment = reading.table("employee"), reading.table("project_assignment")
    project, active = reading.values["project"], reading.values["active"]
    members = select(assignment.c.employee_id).where(assignment.c.project_id == project, assignment.c.is_active)
    is_active = func.coalesce(employee.c.is_active, True)
    return reading.stream(
        select(
            employee.c.employee_id.label("number"),
            employee_name(reading, employee).label("name"),
            employee.c.role,
            employee.c.phone,
            employee.c.email,
            employee.c.hire_date.label("hired"),
            projects_of(reading, employee, "employee_id").label("projects"),
            is_active.label("active"),
        )
        .where(reading.matches("role", employee.c.role))
        .where(employee.c.id.in_(members) if project else true())
        .where(is_active == (active == "yes") if active else true())
        .order_by(employee.c.employee_id)
    )


EMPLOYEES = Report(
    key="employees",
    title=Words("سجل الموظفين", "Employees"),
    about=Words("كل موظفي الوحدة حسب الدور والمشروع.", "Every employee of the unit by role and project."),
    tables=("employee", "project", "project_assignment"),
    parameters=(
        Parameter("role", Words("الدور", "Role"), "choice", choices=EMPLOYEE_ROLE),
        Parameter("active", Words("على رأس العمل", "Active"), "choice", choices=YES_NO),
        PROJECT,
    ),
    sections=(
        Section(
            "employees",
            Words("الموظفون", "Employees"),
            (
                Column("number", Words("الرقم الوظيفي", "Number"), 1.1, "code"),
                Column("name", Words("الاسم", "Name"), 2.2),
                Column("role", Words("الدور", "Role"), 1.2, "word", EMPLOYEE_ROLE, total="count_by"),
                Column("phone", Words("الهاتف", "Phone"), 1.5, "code"),
                Column("email", Words("البريد", "E-mail"), 1.9, "code"),
                Column("hired", Words("تاريخ التعيين", "Hired"), 1.2, "date"),
                Column("projects", Words("المشاريع", "Projects"), 2.2),
                Column("active", Words("على رأس العمل", "Active"), 0.9, "yes_no", total="count_by"),
            ),
            _read_employees,
        ),
    ),
)


def _read_projects(reading: Reading) -> Iterable[Row]:
    project, user, employee = reading.table("project"), reading.table("user"), reading.table("employee")
    assignment = reading.table("project_assignment", "member")

    def count(column: str) -> object:
        return (
            select(func.count(assignment.c[column]))
            .where(and_(assignment.c.project_id == project.c.id, assignment.c.is_active))
            .correlate(project)
            .scalar_subquery()
        )

    return reading.stream(
        select(
            project.c.code,
            project.c.name,
            project.c.status,
            project.c.start_date.label("start"),
            project.c.end_date.label("end"),
            project.c.location,
            project.c.priority,
            func.coalesce(user.c.full_name, employee_name(reading, employee)).label("manager"),
            count("dog_id").label("dogs"),  # type: ignore[attr-defined]
            count("employee_id").label("employees"),  # type: ignore[attr-defined]
        )
        .select_from(
            project.outerjoin(user, user.c.id == project.c.manager_id).outerjoin(
                employee, employee.c.id == project.c.project_manager_id
            )
        )
        .where(reading.matches("status", project.c.status))
        .order_by(project.c.code)
    )


PROJECTS = Report(
    key="projects",
    title=Words("المشاريع", "Projects"),
    about=Words("المشاريع مع مسؤوليها وعدد الكلاب والموظفين.", "The projects, who manages them, dogs and employees."),
    tables=("project", "user", "employee", "project_assignment"),
    parameters=(status_parameter(PROJECT_STATUS),),
    sections=(
        Section(
            "projects",
            Words("المشاريع", "Projects"),
            (
                Column("code", Words("الرمز", "Code"), 1.0, "code"),
                Column("name", Words("الاسم", "Name"), 2.4),
                status_column(PROJECT_STATUS),
                Column("start", Words("البداية", "Start"), 1.1, "date"),
                Column("end", Words("النهاية", "End"), 1.1, "date"),
                Column("location", Words("الموقع", "Location"), 2.0),
                Column("priority", Words("الأولوية", "Priority"), 0.9, "word", PRIORITY),
                Column("manager", Words("المسؤول", "Manager"), 2.0),
                Column("dogs", Words("الكلاب", "Dogs"), 0.7, "integer", total="sum"),
                Column("employees", Words("الموظفون", "Employees"), 0.9, "integer", total="sum"),
            ),
            _read_projects,
        ),
    ),
)
