"""What is done with dogs: training, veterinary visits and who is due, breeding."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import func, select

from k9ops.reports.catalogue.common import (
    DOG,
    DOG_CODE,
    DOG_NAME,
    NOTES,
    PERIOD,
    PROJECT,
    PROJECT_NAME,
    employee_name,
)
from k9ops.reports.definition import Column, Parameter, Report, Row, Section
from k9ops.reports.reading import Reading
from k9ops.reports.words import CYCLE_RESULT, CYCLE_TYPE, TRAINING_CATEGORY, VISIT_TYPE, Words


def _read_training(reading: Reading) -> Iterable[Row]:
    session, dog = reading.table("training_session"), reading.table("dog")
    trainer, project = reading.table("employee"), reading.table("project")
    values = reading.values
    return reading.stream(
        select(
            session.c.session_date.label("moment"),
            dog.c.name.label("dog"),
            dog.c.code.label("dog_code"),
            employee_name(reading, trainer).label("trainer"),
            project.c.name.label("project"),
            session.c.category,
            session.c.subject,
            session.c.duration,
            session.c.success_rating.label("rating"),
            session.c.location,
            session.c.notes,
        )
        .select_from(
            session.join(dog, dog.c.id == session.c.dog_id)
            .join(trainer, trainer.c.id == session.c.trainer_id)
            .outerjoin(project, project.c.id == session.c.project_id)
        )
        .where(reading.within_local(session.c.session_date, values["from"], values["to"]))
        .where(reading.matches("project", session.c.project_id))
        .where(reading.matches("dog", session.c.dog_id))
        .where(reading.matches("trainer", session.c.trainer_id))
        .where(reading.matches("category", session.c.category))
        .order_by(session.c.session_date, dog.c.code, session.c.id)
    )


TRAINING = Report(
    key="training",
    title=Words("تقرير التدريب", "Training"),
    about=Words("جلسات التدريب ومدتها وتقييمها.", "Training sessions, how long they took and how they went."),
    tables=("training_session", "dog", "employee", "project"),
    parameters=(
        *PERIOD,
        PROJECT,
        DOG,
        Parameter("trainer", Words("المدرب", "Trainer"), "employee", is_private=True),
        Parameter("category", Words("الفئة", "Category"), "choice", choices=TRAINING_CATEGORY),
    ),
    sections=(
        Section(
            "sessions",
            Words("جلسات التدريب", "Training sessions"),
            (
                Column("moment", Words("التاريخ والوقت", "When"), 1.5, "moment"),
                DOG_NAME,
                DOG_CODE,
                Column("trainer", Words("المدرب", "Trainer"), 1.8),
                PROJECT_NAME,
                Column("category", Words("الفئة", "Category"), 1.0, "word", TRAINING_CATEGORY, total="count_by"),
                Column("subject", Words("الموضوع", "Subject"), 2.0),
                Column("duration", Words("المدة (د)", "Minutes"), 0.7, "integer", total="sum"),
                Column("rating", Words("التقييم /10", "Rating /10"), 0.7, "integer", total="average"),
                Column("location", Words("المكان", "Place"), 1.2),
                NOTES,
            ),
            _read_training,
        ),
    ),
)


def _read_visits(reading: Reading) -> Iterable[Row]:
    visit, dog, vet = reading.table("veterinary_visit"), reading.table("dog"), reading.table("employee")
    values = reading.values
    return reading.stream(
        select(
            visit.c.visit_date.label("moment"),
            dog.c.name.label("dog"),
            dog.c.code.label("dog_code"),
            employee_name(reading, vet).label("vet"),
            visit.c.visit_type.label("type"),
            visit.c.weight,
            visit.c.temperature,
            visit.c.heart_rate,
            visit.c.symptoms,
            visit.c.diagnosis,
            visit.c.treatment,
            visit.c.next_visit_date.label("next_visit"),
            visit.c.cost,
        )
        .select_from(visit.join(dog, dog.c.id == visit.c.dog_id).join(vet, vet.c.id == visit.c.vet_id))
        .where(reading.within_local(visit.c.visit_date, values["from"], values["to"]))
        .where(reading.matches("project", visit.c.project_id))
        .where(reading.matches("dog", visit.c.dog_id))
        .where(reading.matches("type", visit.c.visit_type))
        .order_by(visit.c.visit_date, dog.c.code, visit.c.id)
    )


def read_due_visits(reading: Reading) -> Iterable[Row]:
    """Read the dogs on duty whose last visit named a next one that comes, or came, due without another visit since."""
    visit, dog = reading.table("veterinary_visit"), reading.table("dog")
    last = (
        select(
            visit.c.dog_id,
            visit.c.visit_date,
            visit.c.next_visit_date,
            visit.c.project_id,
            func.row_number()
            .over(partition_by=visit.c.dog_id, order_by=(visit.c.visit_date.desc(), visit.c.id.desc()))
            .label("place"),
        )
    ).subquery("last")
    until = reading.values.get("due_by") or reading.today + timedelta(days=30)
    return reading.stream(
        select(
            dog.c.name.label("dog"),
            dog.c.code.label("dog_code"),
            last.c.visit_date.label("last_visit"),
            last.c.next_visit_date.label("due"),
            func.greatest(reading.today - last.c.next_visit_date, 0).label("overdue"),
        )
        .select_from(last.join(dog, dog.c.id == last.c.dog_id))
        .where(last.c.place == 1, last.c.next_visit_date <= until)
        .where(dog.c.current_status.in_(("ACTIVE", "TRAINING")))
        .where(reading.matches("project", last.c.project_id))
        .where(reading.matches("dog", last.c.dog_id))
        .order_by(last.c.next_visit_date, dog.c.code)
    )


DUE_VISITS = Section(
    "due",
    Words("الزيارات المستحقة", "Visits due"),
    (
        DOG_NAME,
        DOG_CODE,
        Column("last_visit", Words("آخر زيارة", "Last visit"), 1.5, "moment"),
        Column("due", Words("تاريخ الاستحقاق", "Due"), 1.2, "date"),
        Column("overdue", Words("أيام التأخير", "Days overdue"), 1.0, "integer"),
    ),
    read_due_visits,
)

VETERINARY = Report(
    key="veterinary",
    title=Words("التقرير البيطري", "Veterinary"),
    about=Words("الزيارات البيطرية، ومن حان موعده.", "Veterinary visits, and which dogs are due for one."),
    tables=("veterinary_visit", "dog", "employee", "project"),
    parameters=(
        *PERIOD,
        Parameter("due_by", Words("مستحق حتى", "Due by"), "date", default="today+30"),
        PROJECT,
        DOG,
        Parameter("type", Words("نوع الزيارة", "Visit type"), "choice", choices=VISIT_TYPE),
    ),
    sections=(
        Section(
            "visits",
            Words("الزيارات", "Visits"),
            (
                Column("moment", Words("التاريخ والوقت", "When"), 1.4, "moment"),
                DOG_NAME,
                DOG_CODE,
                Column("vet", Words("الطبيب", "Vet"), 1.7),
                Column("type", Words("النوع", "Type"), 0.9, "word", VISIT_TYPE, total="count_by"),
                Column("weight", Words("الوزن (كجم)", "Weight (kg)"), 0.7, "decimal"),
                Column("temperature", Words("الحرارة (°م)", "Temp. (°C)"), 0.75, "decimal"),
                Column("heart_rate", Words("النبض", "Pulse"), 0.6, "integer"),
                Column("symptoms", Words("الأعراض", "Symptoms"), 1.5),
                Column("diagnosis", Words("التشخيص", "Diagnosis"), 1.5),
                Column("treatment", Words("العلاج", "Treatment"), 1.5),
                Column("next_visit", Words("الزيارة القادمة", "Next visit"), 1.1, "date"),
                Column("cost", Words("التكلفة", "Cost"), 0.8, "decimal", total="sum"),
            ),
            _read_visits,
        ),
        DUE_VISITS,
    ),
)


def _read_cycles(reading: Reading) -> Iterable[Row]:
    cycle = reading.table("production_cycle")
    female, male = reading.table("dog", "female"), reading.table("dog", "male")
    return reading.stream(
        select(
            cycle.c.mating_date.label("mated"),
            female.c.name.label("female"),
            female.c.code.label("female_code"),
            male.c.name.label("male"),
            male.c.code.label("male_code"),
            cycle.c.cycle_type.label("type"),
            cycle.c.heat_start_date.label("heat"),
            cycle.c.expected_delivery_date.label("expected"),
            cycle.c.actual_delivery_date.label("delivered"),
            cycle.c.result,
            cycle.c.number_of_puppies.label("puppies"),
            cycle.c.puppies_survived.label("survived"),
        )
        .select_from(cycle.join(female, female.c.id == cycle.c.female_id).join(male, male.c.id == cycle.c.male_id))
        .where(reading.within(cycle.c.mating_date))
        .where(reading.matches("result", cycle.c.result))
        .order_by(cycle.c.mating_date, female.c.code, cycle.c.id)
    )


BREEDING = Report(
    key="breeding",
    title=Words("تقرير الإنتاج والتكاثر", "Breeding"),
    about=Words("دورات الإنتاج ونتائجها.", "Production cycles and how they ended."),
    tables=("production_cycle", "dog"),
    parameters=(
        Parameter("from", Words("من تاريخ", "From"), "date", default="today-365"),
        Parameter("to", Words("إلى تاريخ", "To"), "date", default="today"),
        Parameter("result", Words("النتيجة", "Result"), "choice", choices=CYCLE_RESULT),
    ),
    sections=(
        Section(
            "cycles",
            Words("دورات الإنتاج", "Production cycles"),
            (
                Column("mated", Words("التزاوج", "Mated"), 1.1, "date"),
                Column("female", Words("الأنثى", "Female"), 1.2),
                Column("female_code", Words("رمزها", "Code"), 0.9, "code"),
                Column("male", Words("الذكر", "Male"), 1.2),
                Column("male_code", Words("رمزه", "Code"), 0.9, "code"),
                Column("type", Words("النوع", "Type"), 0.9, "word", CYCLE_TYPE),
                Column("heat", Words("بداية الشبق", "Heat"), 1.1, "date"),
                Column("expected", Words("الولادة المتوقعة", "Expected"), 1.1, "date"),
                Column("delivered", Words("الولادة الفعلية", "Delivered"), 1.1, "date"),
                Column("result", Words("النتيجة", "Result"), 1.1, "word", CYCLE_RESULT, total="count_by"),
                Column("puppies", Words("الجراء", "Puppies"), 0.8, "integer", total="sum"),
                Column("survived", Words("الناجية", "Survived"), 0.8, "integer", total="sum"),
            ),
            _read_cycles,
        ),
    ),
)
