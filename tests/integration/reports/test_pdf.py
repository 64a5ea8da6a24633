"""PDF reports as readers see them: text in logical order, looks, bytes, limits."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader
from tests.integration.reports.conftest import NOW, Unit
from tests.integration.reports.corpus import CORPUS
from tests.integration.reports.documents import (
    PDFTOPPM,
    WAYS,
    bare,
    describe,
    replace_rows,
    rows_of,
    text_of,
)
from weasyprint.urls import FatalURLFetchingError

from k9ops.errors import GlyphMissing, RendererMissing, RenderingFailed, ReportTooLarge, RunInterrupted
from k9ops.outcome import Execution
from k9ops.reports.catalogue import REPORTS
from k9ops.reports.pdf import renderer
from k9ops.reports.pdf.plain import lay_out
from k9ops.reports.pdf.render import PLAIN_CELLS, render_document


@pytest.fixture(autouse=True)
def _no_renderer_left() -> Iterator[None]:
    yield
    renderer.stop_renderer()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("report", REPORTS)
def test_every_arabic_word_of_every_report_is_found(report: str, way: str, unit: Unit, tmp_path: Path) -> None:
    dates = {"from": "2026-11-01", "to": "2026-11-03"}
    is_long = "from" in {item.name for item in REPORTS[report].parameters} and report != "breeding"
    given = dates if is_long else {}
    document = describe(unit, report, tmp_path, **given)
    WAYS[way](document, tmp_path / "x.pdf")
    found = bare(text_of(tmp_path / "x.pdf"))
    texts = [cell for row in rows_of(document) for cell in row]
    texts += [
        header
        for section in document["sections"]
        if not section["chart"]
        for column in section["columns"]
        for header in column["headers"]
    ]
    texts += [text for section in document["sections"] for pair in section["totals"] for text in pair]
    texts += [document["title"], *(text for pair in document["facts"] for text in pair)]
    words = {word for text in texts for word in re.findall("[\u0621-\u064a\u066e-\u06d3]+", bare(text))}
    assert len(words) > 5
    assert {word for word in words if word not in found} == set()


@pytest.mark.parametrize("language", ["ar", "en"])
@pytest.mark.parametrize("way", WAYS)
def test_hard_texts_come_out_in_logical_order(way: str, language: str, unit: Unit, tmp_path: Path) -> None:
    assert len(CORPUS) >= 60
    document = describe(unit, "incidents", tmp_path, language=language)
    width = len(document["sections"][0]["columns"])
    # Each text has a line to itself in the wide column, between two that can be told from all others.
    place = 7
    rows = [[""] * width for _ in CORPUS]
    for row, text in zip(rows, CORPUS, strict=True):
        row[place] = text
    WAYS[way](replace_rows(document, rows), tmp_path / "x.pdf")
    found = bare(text_of(tmp_path / "x.pdf"))
    together = found.replace(" ", "")
    missing = [text for text in CORPUS if bare(text).replace(" ", "") not in together]
    # pdftotext shows a bracket as it looks, and moves what is neutral at the end of a line: letters and digits count.
    signs = re.compile(r"\w+")
    loose = [text for text in missing if any(word not in together for word in signs.findall(bare(text)))]
    assert loose == []
    latin = [text for text in CORPUS if text.isascii() and "\n" not in text and len(text) < 30]
    latin = [text for text in latin if not set(text) & set("<>(){}")]
    assert [text for text in latin if bare(text).replace(" ", "") not in together] == []


@pytest.mark.parametrize("way", WAYS)
def test_a_word_with_vowel_marks_comes_out_as_one(way: str, unit: Unit, tmp_path: Path) -> None:
    words = ("لاحقاً", "غداً", "عمّار", "سُلّم", "مُحَمَّدٌ", "كِتَابًا", "وثّاب", "قرآن", "شيئاً", "الآن")
    document = describe(unit, "incidents", tmp_path)
    rows = [[""] * len(document["sections"][0]["columns"]) for _ in words]
    for row, word in zip(rows, words, strict=True):
        row[7] = f"قبل {word} بعد"
    WAYS[way](replace_rows(document, rows), tmp_path / "x.pdf")
    found = [bare(line) for line in text_of(tmp_path / "x.pdf").splitlines()]
    assert [line for line in found if line.startswith("قبل ")] == [bare(f"قبل {word} بعد") for word in words]


@pytest.mark.parametrize(
    ("report", "language", "largest_share"),
    # A row of an English report that has Arabic in it is a fraction of a pixel higher in HTML.
    [("incidents", "ar", 0.01), ("incidents", "both", 0.01), ("incidents", "en", 0.08), ("dogs", "ar", 0.01)],
)
def test_both_ways_look_and_read_the_same(
    report: str, language: str, largest_share: float, unit: Unit, tmp_path: Path
) -> None:
    document = describe(unit, report, tmp_path, language=language)
    for way, render in WAYS.items():
        render(document, tmp_path / f"{way}.pdf")
    plain, fast = (re.findall(r"\w+", text_of(tmp_path / f"{way}.pdf")) for way in WAYS)
    assert sorted(plain) == sorted(fast)
    assert max(compare_pictures(tmp_path / "plain.pdf", tmp_path / "fast.pdf", tmp_path)) < largest_share


def compare_pictures(first: Path, second: Path, folder: Path) -> list[float]:
    """Return for each page which share of its pixels differs."""
    from PIL import Image, ImageChops

    for pdf, name in ((first, "p"), (second, "f")):
        subprocess.run([PDFTOPPM, "-r", "60", "-gray", str(pdf), str(folder / name)], check=True)
    pages = [sorted(folder.glob(f"{name}-*.pgm")) for name in ("p", "f")]
    assert len(pages[0]) == len(pages[1]) > 0
    shares = []
    for one, other in zip(*pages, strict=True):
        with Image.open(one) as a, Image.open(other) as b:
            histogram = ImageChops.difference(a, b).histogram()
            shares.append(sum(histogram[64:]) / sum(histogram))
        one.unlink()
        other.unlink()
    return shares


def test_the_same_data_give_the_same_bytes(unit: Unit, tmp_path: Path) -> None:
    for way, render in WAYS.items():
        files = []
        for number in range(2):
            folder = tmp_path / f"{way}{number}"
            folder.mkdir()
            render(describe(unit, "dogs", folder), folder / "x.pdf")
            files.append((folder / "x.pdf").read_bytes())
        assert files[0] == files[1], way


def test_a_fixed_time_makes_reports_of_other_moments_the_same(unit: Unit, tmp_path: Path) -> None:
    fixed = unit.with_settings(report_fixed_time=NOW)
    first = fixed.make("projects", execution=Execution(requested_at=NOW))[1]
    again = fixed.with_settings(reports_dir=tmp_path / "other")
    later = Execution(requested_at=NOW.replace(hour=12))
    assert again.make("projects", execution=later)[1] == first


def test_a_small_report_is_tagged_titled_and_says_its_language_and_page(unit: Unit) -> None:
    artefact, content = unit.make("dogs", requested_by="user0001")
    reader = PdfReader(io.BytesIO(content))
    root = reader.trailer["/Root"]
    assert reader.metadata is not None
    assert (reader.metadata.title, root["/Lang"], root["/MarkInfo"]["/Marked"]) == ("سجل الكلاب", "ar", True)
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert [item.title for item in reader.outline] == ["سجل الكلاب"]  # type: ignore[union-attr]
    fonts = {
        str(font["/BaseFont"])
        for page in reader.pages
        for font in (page["/Resources"]["/Font"][key].get_object() for key in page["/Resources"]["/Font"])
    }
    assert all("+K9-" in name for name in fonts)
    assert len(reader.pages) == artefact.pages == 3
    path = unit.settings.reports_dir / artefact.file_name
    for number in range(1, 4):
        page = bare(text_of(path, "-f", str(number), "-l", str(number)))
        assert f"صفحة{number}من3" in page.replace(" ", "")
        assert "الرمز" in page  # the header is repeated
        assert "وحدة الكلاب البوليسية" in page
        assert "user0001" in page


def test_digits_and_hijri_dates_follow_the_settings(unit: Unit) -> None:
    changed = unit.with_settings(report_digits="arabic", report_hijri=True)
    artefact, _ = changed.make("incidents")
    text = bare(text_of(changed.settings.reports_dir / artefact.file_name)).replace(" ", "")
    assert "الخميس١أكتوبر" in text
    assert "١٤٤٨ه" in text
    assert "صفحة١من" in text
    assert "٢٠٢٦-١٠-٠٣" in text
    assert "١٤٤٨-٠٤-٢٢" in text


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_logo_stands_in_the_head(suffix: str, unit: Unit, tmp_path: Path) -> None:
    logo = tmp_path / f"logo.{suffix}"
    if suffix == "png":
        Image.new("RGB", (40, 40), "red").save(logo)
    else:
        logo.write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="#f00"/></svg>'
        )
    artefact, _ = unit.with_settings(report_logo=logo).make("projects")
    path = unit.settings.reports_dir / artefact.file_name
    subprocess.run([PDFTOPPM, "-r", "30", "-png", "-f", "1", "-l", "1", str(path), str(tmp_path / "page")], check=True)
    with Image.open(next(tmp_path.glob("page-*.png"))) as picture:
        reds = sum(
            1
            for red, green, blue in picture.convert("RGB").get_flattened_data()
            if red > 200 and green < 60 and blue < 60
        )
    assert reds > 50


def test_a_logo_can_open_nothing(unit: Unit, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 40), "red").save(secret)
    asked = socket.create_server(("127.0.0.1", 0))
    asked.setblocking(False)
    address = f"http://127.0.0.1:{asked.getsockname()[1]}/x.png"
    logo = tmp_path / "logo.svg"
    logo.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
        f"<style>@import url({address}); rect {{ fill: url({address}) }}</style><script>alert(1)</script>"
        f'<image href="{secret.as_uri()}" width="9" height="9"/><image xlink:href="{address}" width="9" height="9"/>'
        '<use href="file:///etc/passwd#x"/></svg>'
    )
    with asked:
        artefact, content = unit.with_settings(report_logo=logo).make("projects")
        with pytest.raises(BlockingIOError):
            asked.accept()
    assert artefact.pages == 1
    assert sum(len(page.images) for page in PdfReader(io.BytesIO(content)).pages) == 0


@pytest.mark.parametrize(
    "html",
    [
        '<img src="file:///etc/hostname">',
        '<link rel=attachment href="file:///etc/passwd">',
        '<img src="http://127.0.0.1:9/x.png">',
        "<style>@import url(http://127.0.0.1:9/x.css)</style>",
        "<img src=\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>\">",
    ],
)
def test_nothing_but_fonts_and_logo_is_opened(html: str, tmp_path: Path) -> None:
    with pytest.raises(FatalURLFetchingError, match=r"not allowed|protocol"):
        lay_out({"logo": None}, f"<html><body>{html}</body></html>").write_pdf(tmp_path / "x.pdf")


@pytest.mark.parametrize("way", WAYS)
def test_a_character_without_a_glyph_is_named_with_its_record(way: str, unit: Unit, tmp_path: Path) -> None:
    document = describe(unit, "incidents", tmp_path)
    rows = rows_of(document)
    rows[4][2] = "كلب 🐕"
    with pytest.raises(GlyphMissing, match=r"U\+1F415, dog\) has no glyph.*record 5, الحادث"):
        WAYS[way](replace_rows(document, rows), tmp_path / "x.pdf")


def test_an_empty_report_says_so(unit: Unit) -> None:
    artefact, _ = unit.make("incidents", params={"from": "2001-01-01", "to": "2001-01-02"})
    assert "لا توجد سجلات مطابقة" in bare(text_of(unit.settings.reports_dir / artefact.file_name))
    assert (artefact.pages, artefact.row_count) == (1, 0)


def test_large_reports_go_the_fast_way_and_have_every_row(unit: Unit, tmp_path: Path) -> None:
    document = describe(unit, "attendance", tmp_path)
    assert document["sections"][0]["row_count"] * 11 > PLAIN_CELLS
    pages = render_document(document, tmp_path / "x.pdf")
    text = text_of(tmp_path / "x.pdf")
    assert len(re.findall(r"EMP-\d{4}", text)) == document["sections"][0]["row_count"]
    assert f"صفحة{pages}من{pages}" in bare(text).replace(" ", "")
    assert len(PdfReader(tmp_path / "x.pdf").pages) == pages


def test_too_many_pages_are_refused(unit: Unit) -> None:
    with pytest.raises(ReportTooLarge, match="has 3 pages, more than the 2 that are allowed"):
        unit.with_settings(report_max_pages=2).make("dogs")


def test_the_renderer_stays_warm_and_is_replaced_in_time(unit: Unit) -> None:
    pids = []
    limited = unit.with_settings(report_renderer_documents=2)
    for _ in range(3):
        limited.make("projects")
        assert renderer._renderer is not None
        pids.append(renderer._renderer.pid)
    assert pids[0] == pids[1] != pids[2]
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_renderer_leaves_no_temporary_file_when_it_is_stopped(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer.stop_renderer()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    unit.make("projects")
    assert list((tmp_path / "temporary").rglob("weasyprint-*")), "fonts of a warm renderer"
    renderer.stop_renderer()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_renderer_that_was_killed_fails_this_report_only(unit: Unit) -> None:
    unit.make("projects")
    assert renderer._renderer is not None
    pid = renderer._renderer.pid

    os.kill(pid, signal.SIGSTOP)  # so that it cannot answer first
    asked = 0

    def kill_while_it_is_waited_for() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:  # once for the rows, once for the texts, then four times a second
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(RenderingFailed, match="The process that renders reports ended"):
        unit.make("projects", execution=Execution(requested_at=NOW, check_stop=kill_while_it_is_waited_for))
    assert unit.create("projects").state == "succeeded"


def test_a_run_that_must_stop_kills_the_renderer_at_once(unit: Unit) -> None:
    unit.make("projects")
    assert renderer._renderer is not None
    pid = renderer._renderer.pid
    os.kill(pid, signal.SIGSTOP)  # it will never answer
    ends_at = time.monotonic() + 1.0

    def stop_later() -> None:
        if time.monotonic() > ends_at:
            raise RunInterrupted("stop", reason="time_limit")

    with pytest.raises(RunInterrupted):
        unit.create("projects", execution=Execution(requested_at=NOW, check_stop=stop_later))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert unit.create("projects").state == "succeeded"


def test_a_report_that_needs_too_much_memory_is_refused_and_nothing_else(unit: Unit, tmp_path: Path) -> None:
    document = describe(unit, "attendance", tmp_path, **{"from": "2026-06-01", "to": "2026-11-24"})
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    small = unit.settings.model_copy(update={"report_memory_mb": 190})
    with pytest.raises((ReportTooLarge, RenderingFailed)):
        renderer.render_pdf(small, path, tmp_path / "x.pdf", execution=Execution())
    assert unit.create("projects").state == "succeeded"


def test_a_machine_without_pango_is_told_so(unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weasyprint").mkdir()
    (tmp_path / "weasyprint" / "__init__.py").write_text("raise OSError('cannot load library libpango-1.0-0')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RendererMissing, match=r"sudo apt-get install libpango-1\.0-0"):
        unit.make("projects")
    assert unit.create("projects", format="csv").state == "succeeded"


def test_the_renderer_gets_no_secret(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h/d")
    unit.make("projects")
    assert renderer._renderer is not None
    environment = Path(f"/proc/{renderer._renderer.pid}/environ").read_bytes()
    assert b"hunter2" not in environment
    assert b"DATABASE_URL" not in environment


def test_a_picture_inside_a_picture_is_not_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not a picture, but it would be read")
    html = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{secret.as_uri()}" width="9" height="9"/></svg>'
    lay_out({"logo": None}, f"<html><body>{html}</body></html>").write_pdf(tmp_path / "x.pdf")
    assert "Failed to render SVG image" in caplog.text
    assert b"it would be read" not in (tmp_path / "x.pdf").read_bytes()
