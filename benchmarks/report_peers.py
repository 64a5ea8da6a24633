"""The peers of `benchmarks/reports.py`: each makes the same table its own way, in a process of its own.

    python benchmarks/report_peers.py typst|reportlab|weasyprint|chromium ROWS.jsonl OUTPUT.pdf

It runs in an environment that has them: typst, reportlab, arabic-reshaper, python-bidi, weasyprint. Prints a JSON
line with the seconds without imports.
"""

from __future__ import annotations

import html
import json
import subprocess
import sys
import time
from pathlib import Path

FONTS = Path(__file__).parents[1] / "src/k9ops/reports/fonts"
HEADERS = ("التاريخ", "الاسم", "الرقم", "المشروع", "الوردية", "الدخول", "الخروج", "الحالة", "الكلب", "ملاحظات")
WIDTHS = (1.2, 2.4, 1.0, 2.2, 1.0, 0.8, 0.8, 1.0, 1.0, 2.4)
TITLE = "تقرير الحضور"


def make_typst(rows: list[list[str]], output: Path) -> None:
    """A table with a repeated header; every cell is data, not markup."""
    import typst

    data = output.with_suffix(".json")
    data.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    source = output.with_suffix(".typ")
    columns = ", ".join(f"{width}fr" for width in WIDTHS)
    headers = ", ".join(f"[*{header}*]" for header in HEADERS)
    source.write_text(
        f"""#set document(title: "{TITLE}", date: none)
#set page("a4", flipped: true, margin: (x: 10mm, top: 17mm, bottom: 15mm), footer: context align(left, [صفحة
 #counter(page).display() من #counter(page).final().first()]))
#set text(font: ("Noto Naskh Arabic", "Noto Sans"), size: 8.5pt, lang: "ar", dir: rtl)
= {TITLE}
#let rows = json("{data.name}")
#table(columns: ({columns}), stroke: none, inset: (x: 1mm, y: .8mm),
  fill: (_, y) => if y == 0 {{ rgb("#12395b") }} else if calc.even(y) {{ rgb("#edf1f5") }},
  table.header({headers.replace("[*", "text(fill: white)[*")}), ..rows.flatten())
""",
        encoding="utf-8",
    )
    # Without tags, which is its quicker way.
    typst.compile(str(source), output=str(output), font_paths=[str(FONTS)], ignore_system_fonts=True, pdf_tags=False)


def make_reportlab(rows: list[list[str]], output: Path) -> None:
    """A paragraph in each cell, reshaped and reordered by hand, columns reversed by hand; pages are counted twice."""
    import arabic_reshaper
    from bidi.algorithm import get_display
    from reportlab.lib.colors import HexColor, white
    from reportlab.lib.enums import TA_RIGHT
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table, TableStyle

    pdfmetrics.registerFont(TTFont("Body", str(FONTS / "NotoNaskhArabic-Regular.ttf"), shapable=False))
    pdfmetrics.registerFont(TTFont("Latin", str(FONTS / "NotoSans-Regular.ttf"), shapable=False))
    body = ParagraphStyle("body", fontName="Body", fontSize=8.5, leading=12, alignment=TA_RIGHT)
    latin = ParagraphStyle("latin", parent=body, fontName="Latin")
    head = ParagraphStyle("head", parent=body, textColor=white)

    def cell(text: str, style: ParagraphStyle) -> Paragraph:
        return Paragraph(html.escape(get_display(arabic_reshaper.reshape(text))), latin if text.isascii() else style)

    content = [[cell(text, head) for text in reversed(HEADERS)]]
    content += [[cell(text, body) for text in reversed(row)] for row in rows]
    unit = 277 * mm / sum(WIDTHS)
    table = Table(content, colWidths=[width * unit for width in reversed(WIDTHS)], repeatRows=1)
    shades = [HexColor("#ffffff"), HexColor("#edf1f5")]
    table.setStyle(
        TableStyle([("BACKGROUND", (0, 0), (-1, 0), HexColor("#12395b")), ("ROWBACKGROUNDS", (0, 1), (-1, -1), shades)])
    )
    SimpleDocTemplate(str(output), pagesize=landscape(A4), leftMargin=10 * mm, rightMargin=10 * mm).build(
        [cell(TITLE, body), table]
    )


def make_html(rows: list[list[str]]) -> str:
    """Return the table as somebody writes it who does not think of cost."""
    lines = ("<tr>" + "".join(f"<td><bdi>{html.escape(text)}</bdi></td>" for text in row) + "</tr>\n" for row in rows)
    faces = "".join(
        f'@font-face{{font-family:"{family}";src:url("{(FONTS / name).as_uri()}")}}'
        for family, name in (("Naskh", "NotoNaskhArabic-Regular.ttf"), ("Sans", "NotoSans-Regular.ttf"))
    )
    head = "".join(f"<th>{header}</th>" for header in HEADERS)
    return f"""<!doctype html><html lang="ar" dir="rtl"><meta charset="utf-8"><title>{TITLE}</title><style>{faces}
@page {{ size: A4 landscape; margin: 17mm 10mm 15mm;
  @bottom-left {{ content: "صفحة " counter(page) " من " counter(pages) }} }}
body {{ font: 8.5pt/1.4 Naskh, Sans }} table {{ width: 100%; border-collapse: collapse }}
th {{ background: #12395b; color: #fff }} td, th {{ border: 1px solid #c9ced3; padding: .8mm 1mm }}
tr {{ break-inside: avoid }} tr:nth-child(even) td {{ background: #edf1f5 }}
</style><h1>{TITLE}</h1><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></html>"""


def make_weasyprint(rows: list[list[str]], output: Path) -> None:
    """The same WeasyPrint, without anything that k9ops does to make it quick."""
    from weasyprint import HTML

    HTML(string=make_html(rows)).write_pdf(output)


def make_chromium(rows: list[list[str]], output: Path) -> None:
    """Debian's Chromium prints the page."""
    page = output.with_suffix(".html")
    page.write_text(make_html(rows), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--timeout=600000"]
    command = ["/usr/bin/chromium", *options, f"--print-to-pdf={output}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)


PEERS = {"typst": make_typst, "reportlab": make_reportlab, "weasyprint": make_weasyprint, "chromium": make_chromium}


def main(peer: str, source: Path, output: Path) -> None:
    """Import what the peer needs, then measure."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    PEERS[peer](rows[:2], output)  # imports and fonts, as in a renderer that is warm
    started_s = time.perf_counter()
    PEERS[peer](rows, output)
    print(json.dumps({"taken_s": time.perf_counter() - started_s}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
