from __future__ import annotations

import pytest

from k9ops.reports.pdf.isolation import isolate


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("محمد", "محمد"),
        ("Rex", "<bdi dir=ltr>Rex</bdi>"),
        ("تقرير رقم 2291/A", "تقرير رقم <bdi dir=ltr>2291/A</bdi>"),
        ("هاتف +967-1-234567 فقط", "هاتف <bdi dir=ltr>+967-1-234567</bdi> فقط"),
        ("الكلب Rex تحت الملاحظة", "الكلب <bdi dir=ltr>Rex</bdi> تحت الملاحظة"),
        ("منشأة (Zone C)", "منشأة <bdi dir=ltr>(Zone C)</bdi>"),
        ("إعادة (2 x 15 دقيقة).", "إعادة (<bdi dir=ltr>2 x 15</bdi> دقيقة)."),
        ("حضور 50% اليوم", "حضور <bdi dir=ltr>50%</bdi> اليوم"),
        ("من 06:00-14:00", "من <bdi dir=ltr>06:00-14:00</bdi>"),
        ("a) ب", "<bdi dir=ltr>a</bdi>) ب"),
        ("ب f(x", "ب <bdi dir=ltr>f</bdi>(<bdi dir=ltr>x</bdi>"),
        ("<script>أ</script>", "&lt;<bdi dir=ltr>script</bdi>&gt;أ&lt;/<bdi dir=ltr>script</bdi>&gt;"),
    ],
)
def test_isolate_wraps_latin_and_numbers_inside_arabic(text: str, html: str) -> None:
    assert str(isolate(text, is_rtl=True)) == html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Rex <b>", "Rex &lt;b&gt;"),
        ("Dog صقر 12", "Dog <bdi dir=rtl>صقر</bdi> 12"),
        ("Site المقر الرئيسي, B2", "Site <bdi dir=rtl>المقر الرئيسي</bdi>, B2"),
    ],
)
def test_isolate_wraps_arabic_inside_english(text: str, html: str) -> None:
    assert str(isolate(text, is_rtl=False)) == html
