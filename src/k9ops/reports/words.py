"""Words that people read, in Arabic and in English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["ar", "en", "both"]


@dataclass(frozen=True)
class Words:
    """One expression in both languages."""

    ar: str
    en: str

    def say(self, language: Language) -> str:
        """Return the expression; `both` gives the Arabic one first."""
        if language == "both":
            return self.ar if self.ar == self.en else f"{self.ar} / {self.en}"
        return self.ar if language == "ar" else self.en


def label_words(**labels: str) -> Mapping[str, Words]:
    """Return the words of an enum's labels, given as `LABEL="Arabic|English"`, in their order."""
    pairs = {label: text.partition("|") for label, text in labels.items()}
    return {label: Words(arabic, english) for label, (arabic, _, english) in pairs.items()}


SCHEDULE_STATUS = label_words(OPEN="مفتوح|Open", LOCKED="مقفل|Locked")
ITEM_STATUS = label_words(
    PLANNED="مخطط|Planned", PRESENT="حاضر|Present", ABSENT="غائب|Absent", REPLACED="تم الاستبدال|Replaced"
)
ATTENDANCE_STATUS = label_words(
    PRESENT="حاضر|Present",
    LATE="متأخر|Late",
    ABSENT="غائب|Absent",
    SICK="مريض|Sick",
    LEAVE="إجازة|Leave",
    REMOTE="عن بعد|Remote",
    OVERTIME="عمل إضافي|Overtime",
    PLANNED="مخطط|Planned",
    REPLACED="تم الاستبدال|Replaced",
)
ATTENDANCE_MARKS = label_words(
    PRESENT="ح|P",
    LATE="ت|L",
    ABSENT="غ|A",
    SICK="م|S",
    LEAVE="ج|V",
    REMOTE="ب|R",
    OVERTIME="ض|O",
    PLANNED="خ|N",
    REPLACED="س|X",
)
ABSENCE_REASON = label_words(
    ANNUAL="إجازة سنوية|Annual leave",
    SICK="إجازة مرضية|Sick leave",
    EMERGENCY="ظرف طارئ|Emergency",
    TRAINING="دورة تدريبية|Training course",
    MISSION="مهمة رسمية|Mission",
    NO_REASON="دون عذر|No reason",
    OTHER="سبب آخر|Other",
)
ENTITY = label_words(EMPLOYEE="موظف|Employee", DOG="كلب|Dog")
EMPLOYEE_ROLE = label_words(
    HANDLER="سائس|Handler",
    TRAINER="مدرب|Trainer",
    BREEDER="مربي|Breeder",
    VET="طبيب بيطري|Vet",
    PROJECT_MANAGER="مسؤول مشروع|Project manager",
)
GENDER = label_words(MALE="ذكر|Male", FEMALE="أنثى|Female")
DOG_STATUS = label_words(
    ACTIVE="نشط|Active", TRAINING="تدريب|In training", RETIRED="متقاعد|Retired", DECEASED="متوفى|Deceased"
)
PROJECT_STATUS = label_words(
    PLANNED="مخطط|Planned", ACTIVE="نشط|Active", COMPLETED="مكتمل|Completed", CANCELLED="ملغى|Cancelled"
)
PRIORITY = label_words(LOW="منخفضة|Low", MEDIUM="متوسطة|Medium", HIGH="عالية|High", CRITICAL="حرجة|Critical")
TRAINING_CATEGORY = label_words(
    OBEDIENCE="طاعة|Obedience",
    DETECTION="كشف|Detection",
    AGILITY="رشاقة|Agility",
    ATTACK="هجوم|Attack",
    FITNESS="لياقة|Fitness",
    SOCIALIZATION="تنشئة|Socialization",
    BALL_WORK="كرة|Ball work",
    OTHER="أخرى|Other",
)
TRAINING_TYPE = label_words(
    FITNESS="لياقة|Fitness",
    AGILITY="خفة الحركة|Agility",
    OBEDIENCE="طاعة|Obedience",
    BALL="كرة|Ball",
    EXPLOSIVES="متفجرات|Explosives",
    OTHER="أخرى|Other",
)
VISIT_TYPE = label_words(ROUTINE="روتينية|Routine", EMERGENCY="طارئة|Emergency", VACCINATION="تطعيم|Vaccination")
CYCLE_TYPE = label_words(NATURAL="طبيعي|Natural", ARTIFICIAL="صناعي|Artificial")
CYCLE_RESULT = label_words(SUCCESSFUL="ناجح|Successful", FAILED="فاشل|Failed", UNKNOWN="غير معروف|Unknown")
PREPARATION = label_words(
    BOILED="مسلوق|Boiled", STEAMED="مطهو بالبخار|Steamed", SOAKED="منقوع|Soaked", OTHER="أخرى|Other"
)
BODY_CONDITION = label_words(
    VERY_THIN="نحيف جداً|Very thin",
    THIN="نحيف|Thin",
    BELOW_IDEAL="دون المثالي|Below ideal",
    NEAR_IDEAL="قريب من المثالي|Near ideal",
    IDEAL="مثالي|Ideal",
    ABOVE_IDEAL="فوق المثالي|Above ideal",
    FULL="ممتلئ|Full",
    OBESE="سمين|Obese",
    VERY_OBESE="سمين جداً|Very obese",
)
HEALTH_STATUS = label_words(
    NORMAL="سليم|Normal", ABNORMAL="غير طبيعي|Abnormal", NEEDS_ATTENTION="يحتاج متابعة|Needs attention"
)
HEALTH_PART = label_words(
    eyes="العيون|Eyes",
    nose="الأنف|Nose",
    ears="الآذان|Ears",
    mouth="الفم|Mouth",
    teeth="الأسنان|Teeth",
    gums="اللثة|Gums",
    front_limbs="الأطراف الأمامية|Front limbs",
    back_limbs="الأطراف الخلفية|Back limbs",
    hair="الشعر|Coat",
    tail="الذيل|Tail",
    rear="المؤخرة|Rear",
)
INCIDENT_TYPE = label_words(SUSPICION="اشتباه|Suspicion", DETECTION="كشف|Detection")
STOOL_COLOR = label_words(
    BROWN="بني|Brown", YELLOW="أصفر|Yellow", GREEN="أخضر|Green", BLACK="أسود|Black", RED="أحمر|Red", WHITE="أبيض|White"
)
STOOL_SHAPE = label_words(NORMAL="طبيعي|Normal", HARD="صلب|Hard", SOFT="لين|Soft", LIQUID="سائل|Liquid")
REPORT_STATUS = label_words(
    DRAFT="مسودة|Draft",
    SUBMITTED="مرسل|Submitted",
    APPROVED="معتمد|Approved",
    REJECTED="مرفوض|Rejected",
    APPROVED_BY_PM="معتمد من مسؤول المشروع|Approved by project manager",
    FORWARDED_TO_ADMIN="محال إلى الإدارة|Forwarded to administration",
    REJECTED_BY_PM="مرفوض من مسؤول المشروع|Rejected by project manager",
    APPROVED_BY_ADMIN="معتمد من الإدارة|Approved by administration",
    REJECTED_BY_ADMIN="مرفوض من الإدارة|Rejected by administration",
)
REPORT_TYPE = label_words(SHIFT="وردية|Shift", DAILY="يومي|Daily")
YES_NO = label_words(yes="نعم|Yes", no="لا|No")
BACKUP_STATUS = label_words(success="ناجحة|Successful", partial="غير مكتملة|Partial", failed="فاشلة|Failed")
