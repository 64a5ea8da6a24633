"""Sample employees, users, dogs, projects and who belongs to which."""

from __future__ import annotations

from datetime import timedelta

from k9ops.db.sample import names
from k9ops.db.sample.unit import Row, SampleUnit

_EMPLOYEES = {"PROJECT_MANAGER": 12, "TRAINER": 20, "BREEDER": 8, "VET": 10, "HANDLER": 150}
_ADMINS = 3
_DOGS = 60
_STATUSES = ("ACTIVE", "ACTIVE", "ACTIVE", "ACTIVE", "PLANNED", "COMPLETED")


def add_members(unit: SampleUnit) -> None:
    """Add the people, the dogs and the projects."""
    number = unit.first_number
    for role, count in _EMPLOYEES.items():
        for _ in range(count):
            number += 1
            _add_person(unit, role, number, is_admin=number - unit.first_number <= _ADMINS)
    _add_projects(unit)
    _add_dogs(unit)
    _assign(unit)


def _person_name(unit: SampleUnit) -> str:
    if unit.chance(0.1):
        return str(unit.pick(names.FOREIGN_NAMES))
    words = (unit.pick(names.GIVEN_NAMES), unit.pick(names.FATHER_NAMES), unit.pick(names.FAMILY_NAMES))
    return " ".join(words)


def _add_person(unit: SampleUnit, role: str, number: int, *, is_admin: bool) -> None:
    name = _person_name(unit)
    phone = f"+9665{unit.random.randrange(10**8):08d}"
    email = f"user{number:04d}@k9.example"
    is_active = unit.chance(0.95)
    employee = unit.add(
        "employee",
        name=name,
        employee_id=f"EMP-{number:04d}",
        role=role,
        phone=phone,
        email=email,
        hire_date=unit.today - timedelta(days=unit.random.randrange(90, 4000)),
        is_active=is_active,
        **unit.if_b(lambda: {"full_name": name}),
    )
    if unit.generation == "A" and role not in ("HANDLER", "PROJECT_MANAGER"):
        return
    unit.add(
        "user",
        username=f"user{number:04d}",
        email=email,
        role="GENERAL_ADMIN" if is_admin else role,
        full_name=name,
        active=is_active,
        phone=phone,
        **unit.if_b(lambda: {"employee_id": employee["id"]}),
    )


def _add_projects(unit: SampleUnit) -> None:
    managers = unit.users("PROJECT_MANAGER")
    bosses = unit.employees("PROJECT_MANAGER")[_ADMINS:]
    for index, ((name, location), status) in enumerate(zip(names.PROJECTS, _STATUSES, strict=True)):
        start = unit.today + timedelta(days=30 if status == "PLANNED" else -unit.random.randrange(250, 700))
        unit.add(
            "project",
            name=name,
            code=f"PRJ-{unit.first_number + index + 1:03d}",
            status=status,
            start_date=start,
            end_date=unit.today - timedelta(days=20) if status == "COMPLETED" else None,
            location=location,
            priority=unit.pick(("LOW", "MEDIUM", "HIGH")),
            manager_id=managers[index]["id"],
            project_manager_id=bosses[index]["id"],
        )


def _add_dogs(unit: SampleUnit) -> None:
    handlers = unit.users("HANDLER")
    for index in range(_DOGS):
        number = unit.first_number + index + 1
        status = unit.random.choices(("ACTIVE", "TRAINING", "RETIRED", "DECEASED"), (80, 10, 7, 3))[0]
        on_duty = status in ("ACTIVE", "TRAINING")
        unit.add(
            "dog",
            name=unit.pick(names.DOG_NAMES),
            code=f"K9-{number:03d}",
            breed=unit.pick(names.BREEDS),
            gender=unit.label("doggender"),
            birth_date=unit.today - timedelta(days=unit.random.randrange(400, 3600)),
            microchip_id=f"6820000{number:08d}",
            current_status=status,
            location=unit.pick(names.PROJECTS)[1],
            specialization=unit.pick(names.SPECIALIZATIONS),
            color=unit.pick(names.COLORS),
            weight=round(unit.random.uniform(18, 42), 1),
            height=round(unit.random.uniform(48, 68), 1),
            assigned_to_user_id=handlers[index]["id"] if on_duty else None,
        )


def _assign(unit: SampleUnit) -> None:
    """Spread handlers and working dogs over the projects, and tell each user its project and dog."""
    projects = unit.projects("ACTIVE", "COMPLETED")
    dogs = {dog["assigned_to_user_id"]: dog for dog in unit.working_dogs}
    for user in unit.rows["user"]:
        user["project_id"] = user["dog_id"] = None
    for index, user in enumerate(unit.users("HANDLER")):
        project, dog = projects[index % len(projects)], dogs.get(user["id"])
        user["project_id"], user["dog_id"] = project["id"], dog["id"] if dog else None
        if dog:
            _join(unit, project, dog=dog)
    for index, employee in enumerate(unit.employees("HANDLER", "TRAINER", "VET")):
        _join(unit, projects[index % len(projects)], employee=employee)


def _join(unit: SampleUnit, project: Row, *, dog: Row | None = None, employee: Row | None = None) -> None:
    unit.add(
        "project_assignment",
        project_id=project["id"],
        dog_id=dog["id"] if dog else None,
        employee_id=employee["id"] if employee else None,
        is_active=project["status"] == "ACTIVE",
    )
