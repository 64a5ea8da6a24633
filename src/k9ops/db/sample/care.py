"""Sample training, veterinary visits, breeding, feeding, check-ups, kennel logs and incidents."""

from __future__ import annotations

from datetime import timedelta

from k9ops.db.sample import names
from k9ops.db.sample.unit import Row, SampleUnit

_CARE_DAYS = 30
_CHECKUP_PARTS = ("eyes", "ears", "nose", "front_legs", "hind_legs", "coat", "tail")
_CHORES = ("house_clean", "house_vacuum", "house_tap_clean", "house_drain_clean")
_GROOMING = ("dog_clean", "dog_washed", "dog_brushed", "bowls_bucket_clean")


def add_care(unit: SampleUnit) -> None:
    """Add what was done with and for each dog."""
    places = {row["dog_id"]: row["project_id"] for row in unit.rows["project_assignment"] if row["dog_id"]}
    for dog in unit.working_dogs:
        project_id = places[dog["id"]]
        for _ in range(40):
            _add_training(unit, dog, project_id)
        for _ in range(7):
            _add_visit(unit, dog, project_id)
        for day in unit.days(_CARE_DAYS):
            shared = {"project_id": project_id, "date": day, "dog_id": dog["id"]}
            _add_feeding(unit, shared, hour=7)
            _add_feeding(unit, shared, hour=18)
            _add_checkup(unit, shared)
            _add_kennel_log(unit, shared, dog)
    _add_breeding(unit)
    _add_incidents(unit)


def _add_training(unit: SampleUnit, dog: Row, project_id: object) -> None:
    unit.add(
        "training_session",
        dog_id=dog["id"],
        trainer_id=unit.pick(unit.employees("TRAINER"))["id"],
        project_id=project_id,
        category=unit.label("trainingcategory"),
        subject=unit.pick(names.TRAINING_SUBJECTS),
        session_date=unit.moment(unit.pick(unit.days(180)), from_hour=3, to_hour=15),
        duration=unit.pick((15, 20, 30, 45, 60, 90)),
        success_rating=min(10, max(0, round(unit.random.gauss(7, 2)))),
        location=unit.pick(("ميدان التدريب 1", "ميدان التدريب 2", "Hall B", "المطار")),
        notes=unit.pick(names.TRAINING_NOTES) if unit.chance(0.5) else None,
    )


def _add_visit(unit: SampleUnit, dog: Row, project_id: object) -> None:
    day, kind = unit.pick(unit.days(365)), unit.label("visittype")
    unit.add(
        "veterinary_visit",
        dog_id=dog["id"],
        vet_id=unit.pick(unit.employees("VET"))["id"],
        project_id=project_id,
        visit_type=kind,
        visit_date=unit.moment(day, from_hour=5, to_hour=14),
        weight=round(dog["weight"] + unit.random.uniform(-1.5, 1.5), 1),
        temperature=round(unit.random.uniform(37.8, 39.6), 1),
        heart_rate=unit.random.randrange(65, 130),
        symptoms=unit.pick(names.SYMPTOMS),
        diagnosis=unit.pick(names.DIAGNOSES),
        treatment=unit.pick(names.TREATMENTS),
        medications=[{"name": unit.pick(names.MEDICATIONS), "days": unit.random.randrange(3, 11)}],
        vaccinations_given=[unit.pick(names.VACCINES)] if kind == "VACCINATION" else [],
        next_visit_date=day + timedelta(days=90) if unit.chance(0.6) else None,
        cost=float(unit.random.randrange(100, 1500, 25)),
        notes=None,
    )


def _add_feeding(unit: SampleUnit, shared: Row, *, hour: int) -> None:
    is_fresh = unit.chance(0.4)
    unit.add(
        "feeding_log",
        **shared,
        time=unit.clock(hour, hour + 2),
        recorder_employee_id=unit.pick(unit.employees("BREEDER"))["id"],
        meal_type_fresh=is_fresh,
        meal_type_dry=not is_fresh,
        meal_name=unit.pick(names.MEALS),
        prep_method=unit.label("prepmethod") if is_fresh else None,
        grams=unit.random.randrange(300, 900, 50),
        water_ml=unit.random.randrange(500, 2000, 100),
        supplements=[{"name": unit.pick(names.SUPPLEMENTS), "qty": "5 g"}] if unit.chance(0.3) else None,
        body_condition=unit.pick(("BELOW_IDEAL", "NEAR_IDEAL", "IDEAL", "IDEAL", "ABOVE_IDEAL")),
        notes=None,
    )


def _add_checkup(unit: SampleUnit, shared: Row) -> None:
    is_ill = unit.chance(0.08)
    unit.add(
        "daily_checkup_log",
        **shared,
        time=unit.clock(6, 9),
        examiner_employee_id=unit.pick(unit.employees("VET", "BREEDER"))["id"],
        **{part: unit.pick(names.CHECKUP_WORDS) for part in _CHECKUP_PARTS},
        severity=unit.pick(names.SEVERITIES) if is_ill else None,
        symptoms=unit.pick(names.SYMPTOMS) if is_ill else None,
        initial_diagnosis=unit.pick(names.DIAGNOSES) if is_ill else None,
        suggested_treatment=unit.pick(names.TREATMENTS) if is_ill else None,
        notes=None,
    )


def _add_kennel_log(unit: SampleUnit, shared: Row, dog: Row) -> None:
    unit.add(
        "caretaker_daily_log",
        **shared,
        caretaker_employee_id=unit.pick(unit.employees("BREEDER"))["id"],
        kennel_code=f"KN-{dog['code'][-2:]}",
        **{chore: unit.chance(0.9) for chore in (*_CHORES, *_GROOMING)},
        notes="تم تعقيم البيت بالكامل" if unit.chance(0.1) else None,
    )


def _add_breeding(unit: SampleUnit) -> None:
    females = [dog for dog in unit.rows["dog"] if dog["gender"] == "FEMALE"]
    males = [dog for dog in unit.rows["dog"] if dog["gender"] == "MALE"]
    for _ in range(12):
        mated_on = unit.today - timedelta(days=unit.random.randrange(5, 500))
        is_over = mated_on < unit.today - timedelta(days=66)
        result = unit.pick(("SUCCESSFUL", "SUCCESSFUL", "FAILED")) if is_over else "UNKNOWN"
        puppies = unit.random.randrange(3, 10) if result == "SUCCESSFUL" else None
        unit.add(
            "production_cycle",
            female_id=unit.pick(females)["id"],
            male_id=unit.pick(males)["id"],
            cycle_type=unit.label("productioncycletype"),
            heat_start_date=mated_on - timedelta(days=9),
            mating_date=mated_on,
            expected_delivery_date=mated_on + timedelta(days=63),
            actual_delivery_date=mated_on + timedelta(days=unit.pick((61, 62, 63, 65))) if puppies else None,
            result=result,
            number_of_puppies=puppies,
            puppies_survived=puppies - unit.pick((0, 0, 1)) if puppies else None,
        )


def _add_incidents(unit: SampleUnit) -> None:
    for project in unit.projects("ACTIVE", "COMPLETED"):
        for _ in range(18):
            name, kind = unit.pick(names.INCIDENTS)
            day, is_resolved = unit.pick(unit.days(180)), unit.chance(0.8)
            unit.add(
                "incident",
                project_id=project["id"],
                name=name,
                incident_date=day,
                incident_time=unit.clock(0, 24),
                incident_type=kind,
                description=unit.pick(names.INCIDENT_DETAILS),
                location=project["location"],
                severity=unit.pick(("LOW", "MEDIUM", "HIGH", "CRITICAL")),
                resolved=is_resolved,
                resolution_date=min(unit.today, day + timedelta(days=2)) if is_resolved else None,
            )
