"""What a PDF says of itself, and what the standards that it names ask for and can be looked at without a validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import ContentStream, DictionaryObject
from tests.integration.reports.conftest import Unit
from tests.integration.reports.documents import WAYS, describe

SHOWING = {b"Tj", b"TJ", b"'", b'"'}


def open_report(unit: Unit, folder: Path, report: str, way: str, language: str) -> PdfReader:
    WAYS[way](describe(unit, report, folder, language=language), folder / "x.pdf")
    return PdfReader(folder / "x.pdf")


def xmp_of(reader: PdfReader) -> str:
    text: str = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    return text


def fonts_of(reader: PdfReader) -> Iterator[tuple[str, DictionaryObject]]:
    for page in reader.pages:
        for name, font in page["/Resources"]["/Font"].items():
            yield name, font.get_object()


def elements_of(element: Any) -> Iterator[DictionaryObject]:
    """Yield the structure's elements in the order of reading."""
    element = element.get_object()
    if isinstance(element, list):
        for child in element:
            yield from elements_of(child)
    elif isinstance(element, DictionaryObject):
        if "/S" in element:
            yield element
        if "/K" in element:
            yield from elements_of(element["/K"])


def operations_of(reader: PdfReader) -> Iterator[tuple[list[Any], bytes]]:
    for page in reader.pages:
        yield from ContentStream(page.get_contents(), reader).operations


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("language", ["ar", "en"])
def test_fonts_are_embedded_and_every_glyph_says_its_text(way: str, language: str, unit: Unit, tmp_path: Path) -> None:
    reader = open_report(unit, tmp_path, "incidents", way, language)
    texts: dict[str, set[str]] = {}
    for name, font in fonts_of(reader):
        descendant = font["/DescendantFonts"][0].get_object()
        assert descendant["/FontDescriptor"].get_object().keys() & {"/FontFile2", "/FontFile3"}
        cmap = font["/ToUnicode"].get_object().get_data().decode()
        texts[name] = {match[1].lower() for match in re.finditer(r"<(\w{4})> <(\w+)>", cmap)}
    used: dict[str, set[str]] = {name: set() for name in texts}
    current = ""
    for operands, operator in operations_of(reader):
        if operator == b"Tf":
            current = str(operands[0])
        elif operator == b"TJ":
            for piece in operands[0]:
                if not isinstance(piece, int | float):
                    raw = piece.original_bytes.hex()
                    used[current] |= {raw[start : start + 4] for start in range(0, len(raw), 4)}
    assert any(used.values())
    assert {name: glyphs - texts[name] for name, glyphs in used.items() if glyphs - texts[name]} == {}


@pytest.mark.parametrize("language", ["ar", "en", "both"])
@pytest.mark.parametrize("report", ["operations", "incidents", "veterinary"])
def test_a_small_report_is_pdf_ua(report: str, language: str, unit: Unit, tmp_path: Path) -> None:
    reader = open_report(unit, tmp_path, report, "plain", language)
    root = reader.trailer["/Root"]
    assert re.search(r'pdfuaid:part(>|=")1', xmp_of(reader))
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == ("en" if language == "en" else "ar")
    elements = list(elements_of(root["/StructTreeRoot"]["/K"]))
    kinds = [str(element["/S"]) for element in elements]
    levels = [int(kind[2]) for kind in kinds if re.fullmatch(r"/H\d", kind)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    figures = [element for element in elements if element["/S"] == "/Figure"]
    assert len(figures) == (3 if report == "operations" else 0)
    assert len(reader.pages) == 2 or report != "operations"
    assert all(re.search(r"\S\. .*\d: \d", element["/Alt"]) for element in figures)
    assert kinds.count("/TH") > 0
    depth = 0
    for _, operator in operations_of(reader):
        depth += (operator in (b"BDC", b"BMC")) - (operator == b"EMC")
        assert depth > 0 or operator not in SHOWING


def test_a_large_report_is_pdf_a(unit: Unit, tmp_path: Path) -> None:
    reader = open_report(unit, tmp_path, "incidents", "fast", "ar")
    root, xmp = reader.trailer["/Root"], xmp_of(reader)
    assert re.search(r'pdfaid:part(>|=")3', xmp)
    assert re.search(r'pdfaid:conformance(>|=")U', xmp)
    (intent,) = root["/OutputIntents"]
    assert intent.get_object()["/S"] == "/GTS_PDFA1"
    assert len(intent.get_object()["/DestOutputProfile"].get_object().get_data()) > 1000
    assert reader.metadata is not None
    assert str(reader.metadata.title) in xmp
    assert len(reader.trailer["/ID"]) == 2
    assert not {"/Encrypt"} & set(reader.trailer)
