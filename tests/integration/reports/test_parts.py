"""Reports that cannot be drawn: HTML in parts, rendered side by side and joined, that look as if made in one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from tests.integration.reports.conftest import NOW, Unit
from tests.integration.reports.test_pdf import bare, compare_pictures, describe, replace_rows, rows_of, text_of

from k9ops.errors import GlyphMissing, ReportTooLarge, RunInterrupted
from k9ops.outcome import Execution
from k9ops.reports.pdf import parts, render, renderer
from k9ops.reports.pdf.fast import render_fast
from k9ops.reports.pdf.frame import CannotDraw
from k9ops.reports.pdf.joining import join_parts
from k9ops.reports.pdf.page import PageNumbers
from k9ops.reports.pdf.plain import render_plain


@pytest.fixture(autouse=True)
def _no_renderer_left() -> Iterator[None]:
    yield
    renderer.stop_renderer()


def render_in_parts(document: dict[str, Any], output: Path) -> int:
    """Do one after the other what renderers do side by side."""
    planned = parts.plan_parts(document)
    assert len(planned) > 2
    total = sum(part.pages for part in planned)
    files, first = [], 1
    for number, part in enumerate(planned):
        files.append(output.with_name(f"{output.stem}{number}.pdf"))
        assert parts.render_part(document, part.spans, PageNumbers(first, total), files[-1]) == part.pages
        first += part.pages
    return join_parts(document, files, output)


def renderers() -> list[int]:
    """Return the processes that render for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"k9ops.reports.pdf.child" in words and str(os.getpid()).encode() in words:
            found.append(int(folder.name))
    return found


def with_tall_row(document: dict[str, Any]) -> dict[str, Any]:
    rows = rows_of(document)[:520]
    rows[7][4] = " ".join(f"w{number:03d}" for number in range(250))
    return replace_rows(document, rows)


@pytest.mark.parametrize("digits", ["western", "arabic"])
def test_parts_look_and_read_like_one_piece(
    digits: str, unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_CELLS", 300)
    document = describe(unit.with_settings(report_digits=digits), "incidents", tmp_path, language="ar")
    replace_rows(document, rows_of(document) * 8)
    pages = render_plain(document, tmp_path / "plain.pdf")
    assert render_in_parts(document, tmp_path / "parts.pdf") == pages
    assert max(compare_pictures(tmp_path / "plain.pdf", tmp_path / "parts.pdf", tmp_path)) == 0.0
    assert text_of(tmp_path / "plain.pdf", "-layout") == text_of(tmp_path / "parts.pdf", "-layout")
    first = (tmp_path / "parts.pdf").read_bytes()
    render_in_parts(document, tmp_path / "parts.pdf")
    assert (tmp_path / "parts.pdf").read_bytes() == first


def test_joined_parts_have_title_language_one_outline_and_each_font_once(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_CELLS", 80)
    document = describe(unit, "veterinary", tmp_path, **{"from": "2026-09-01", "to": "2026-11-24"})
    render_plain(document, tmp_path / "plain.pdf")
    render_in_parts(document, tmp_path / "parts.pdf")
    plain, joined = PdfReader(tmp_path / "plain.pdf"), PdfReader(tmp_path / "parts.pdf")
    assert joined.metadata is not None
    assert plain.metadata is not None
    assert (joined.metadata.title, joined.trailer["/Root"]["/Lang"]) == (plain.metadata.title, "ar")
    assert joined.trailer["/Root"]["/ViewerPreferences"]["/DisplayDocTitle"]
    outlines = [
        [(item["/Title"], reader.get_destination_page_number(item)) for item in flatten(reader.outline)]
        for reader in (plain, joined)
    ]
    assert outlines[0] == outlines[1]
    assert len(outlines[0]) > 1
    files = {}
    for page in joined.pages:
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            files.setdefault(inner["/BaseFont"], set()).add(inner["/FontDescriptor"].raw_get("/FontFile2").idnum)
    assert len(files) == 4
    assert all(len(numbers) == 1 for numbers in files.values())


def flatten(outline: Any) -> Iterator[Any]:
    for item in outline:
        if isinstance(item, list):
            yield from flatten(item)
        else:
            yield item


def test_another_weasyprint_means_parts(unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = describe(unit, "attendance", tmp_path)
    monkeypatch.setattr(render, "is_known_version", lambda: False)
    planned = render.render_document(document, tmp_path / "x.pdf")
    assert isinstance(planned, list)
    assert sum(count for part in planned for _, _, count in part.spans) == document["sections"][0]["row_count"]


def test_a_row_taller_than_a_page_is_never_cut(unit: Unit, tmp_path: Path) -> None:
    document = with_tall_row(describe(unit, "attendance", tmp_path))
    with pytest.raises(CannotDraw, match=r"record 8 of .* is taller than its page"):
        render_fast(document, tmp_path / "x.pdf")
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    told: list[tuple[int, int, str]] = []
    execution = Execution(report_progress=lambda *progress: told.append(progress))
    two = unit.settings.model_copy(update={"report_processes": 2})
    pages = renderer.render_pdf(two, path, tmp_path / "x.pdf", execution=execution)
    text = text_of(tmp_path / "x.pdf")
    assert len(set(re.findall(r"w\d{3}", text))) == 250
    assert len(re.findall(r"EMP-\d{4}", text)) >= document["sections"][0]["row_count"]
    assert told[-1][0] <= pages
    found = bare(text).replace(" ", "")
    # On a page of Latin words pdftotext turns the number's line round.
    ways = [(f"صفحة{number}من{pages}", f"{pages}من{number}صفحة") for number in range(1, pages + 1)]
    assert [way for way in ways if not any(words in found for words in way)] == []
    assert len(renderers()) == 1  # the warm one
    assert [file.name for file in tmp_path.glob("x.pdf*")] == ["x.pdf"]


def test_a_run_that_must_stop_ends_all_renderers_of_its_parts(unit: Unit, tmp_path: Path) -> None:
    document = with_tall_row(describe(unit, "attendance", tmp_path))
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document), encoding="utf-8")

    def stop_when_there_are_two() -> None:
        if len(renderers()) == 2:
            raise RunInterrupted("stop", reason="time_limit")

    two = unit.settings.model_copy(update={"report_processes": 2})
    with pytest.raises(RunInterrupted):
        renderer.render_pdf(two, path, tmp_path / "x.pdf", execution=Execution(check_stop=stop_when_there_are_two))
    assert renderers() == []
    assert list(tmp_path.glob("x.pdf*")) == []
    assert unit.create("projects", execution=Execution(requested_at=NOW)).state == "succeeded"


def test_a_plan_refuses_what_no_font_has_and_too_many_pages(unit: Unit, tmp_path: Path) -> None:
    document = describe(unit, "incidents", tmp_path)
    replace_rows(document, rows_of(document) * 5)
    with pytest.raises(ReportTooLarge, match="more than the 1 that are allowed"):
        parts.plan_parts({**document, "max_pages": 1})
    rows = rows_of(document)
    rows[4][2] = "كلب 🐕"
    with pytest.raises(GlyphMissing, match=r"record 5, الحادث"):
        parts.plan_parts(replace_rows(document, rows))
