from __future__ import annotations

import pytest

from k9ops.reports.pdf.isolation import LTR, RTL, find_open_marks, isolate


def tagged(text: str) -> str:
    """Show the marks, which are invisible, as tags."""
    for mark, tag in (
        ("\u2066", "<bdi dir=ltr>"),
        ("\u2067", "<bdi dir=rtl>"),
        ("\u2069", "</bdi>"),
        ("\u200e", "<lrm>"),
    ):
        text = text.replace(mark, tag)
    return text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("محمد", "محمد"),
        ("Rex", "<bdi dir=ltr>Rex</bdi>"),
        ("٢٠٢٦-١٠-٠٣ ٢٠:٢٧", "<bdi dir=ltr>٢٠٢٦-<lrm>١٠-<lrm>٠٣ <lrm>٢٠:٢٧</bdi>"),
        ("تقرير رقم 2291/A", "تقرير رقم <bdi dir=ltr>2291/A</bdi>"),
        ("هاتف +967-1-234567 فقط", "هاتف <bdi dir=ltr>+967-1-234567</bdi> فقط"),
        ("الكلب Rex تحت الملاحظة", "الكلب <bdi dir=ltr>Rex</bdi> تحت الملاحظة"),
        ("منشأة (Zone C)", "منشأة <bdi dir=ltr>(Zone C)</bdi>"),
        ("إعادة (2 x 15 دقيقة).", "إعادة (<bdi dir=ltr>2 x 15</bdi> دقيقة)."),
        ("حضور 50% اليوم", "حضور <bdi dir=ltr>50%</bdi> اليوم"),
        ("من 06:00-14:00", "من <bdi dir=ltr>06:00-14:00</bdi>"),
        ("a) ب", "<bdi dir=ltr>a</bdi>) ب"),
        ("ب f(x", "ب <bdi dir=ltr>f</bdi>(<bdi dir=ltr>x</bdi>"),
        ("<b>أ", "<<bdi dir=ltr>b</bdi>>أ"),
        ("٢٠٢٦-١١-٢٤", "<bdi dir=ltr>٢٠٢٦-<lrm>١١-<lrm>٢٤</bdi>"),
        ("أ\nRex", "أ\n<bdi dir=ltr>Rex</bdi>"),
    ],
)
def test_isolate_wraps_latin_and_numbers_inside_arabic(text: str, html: str) -> None:
    assert tagged(isolate(text, is_rtl=True)) == html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Rex", "Rex"),
        ("المرحلة 2.", "<bdi dir=rtl>المرحلة <bdi dir=ltr>2</bdi>.</bdi>"),
        ("Dog صقر 12", "Dog <bdi dir=rtl>صقر</bdi> 12"),
        ("Site المقر الرئيسي, B2", "Site <bdi dir=rtl>المقر الرئيسي</bdi>, B2"),
    ],
)
def test_isolate_wraps_arabic_inside_english(text: str, html: str) -> None:
    assert tagged(isolate(text, is_rtl=False)) == html


@pytest.mark.parametrize(
    ("line", "opened"),
    [
        ("", ""),
        ("نص", ""),
        (f"نص {LTR}(Zone", LTR),
        (f"نص {LTR}(Zone C)\u2069 آخر", ""),
        (f"{RTL}إعادة ({LTR}2 x", RTL + LTR),
        ("C)\u2069 \u2069", ""),
    ],
)
def test_a_line_leaves_open_what_the_next_one_opens_again(line: str, opened: str) -> None:
    assert find_open_marks(line) == opened
