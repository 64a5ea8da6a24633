"""Parts of a report become one PDF: pages in a row, one outline, each font once and only what is used of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    ByteStringObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
    TextStringObject,
)

from k9ops.reports.pdf.fonts import FONT_FILES, FONT_FOLDER

# As WeasyPrint calls them after family and weight.
_FILES = dict(zip(("K9-Naskh", "K9-Naskh-Bold", "K9-Sans", "K9-Sans-Bold"), FONT_FILES, strict=True))


def join_parts(document: Mapping[str, Any], parts: Sequence[Path], output: Path) -> int:
    """Write one PDF and return its number of pages.

    Title, dates, language and outline are those of the parts. Tags do not survive, so the parts have none.

    Args:
        document: The report's description.
        parts: In order.
        output: The file to write.
    """
    writer = PdfWriter()
    for path in parts:
        writer.append(PdfReader(path), import_outline=True)
    first = PdfReader(parts[0])
    writer.metadata = dict(first.metadata or {})
    root = writer.root_object
    root[NameObject("/Lang")] = TextStringObject(document["language"])
    root[NameObject("/ViewerPreferences")] = DictionaryObject(
        {NameObject("/DisplayDocTitle"): BooleanObject(True)}  # a PDF value, not an option
    )
    _share_fonts(writer)
    writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
    identifier = ByteStringObject(document["identifier"].encode())
    writer._ID = ArrayObject((identifier, identifier))
    writer.write(output)
    return len(writer.pages)


def _share_fonts(writer: PdfWriter) -> None:
    """Put one file in the place of each bundled font's, with the glyphs that any part uses.

    Each part keeps its own table from glyphs to letters. A font that only a logo uses stays as it is.
    """
    users: dict[str, list[Any]] = {}
    glyphs: dict[str, set[int]] = {}
    for font in _find_fonts(writer):
        inner = font["/DescendantFonts"][0].get_object()
        name = str(inner["/BaseFont"]).partition("+")[2]
        if name in _FILES:
            users.setdefault(name, []).append(inner["/FontDescriptor"].get_object())
            glyphs.setdefault(name, set()).update(_read_glyphs(inner["/W"]))
    for name, descriptors in users.items():
        data = _subset(FONT_FOLDER / _FILES[name], glyphs[name])
        stream = StreamObject()
        stream.set_data(data)
        stream[NameObject("/Length1")] = NumberObject(len(data))
        shared = writer._add_object(stream.flate_encode())
        for descriptor in descriptors:
            descriptor[NameObject("/FontFile2")] = shared


def _find_fonts(writer: PdfWriter) -> Iterator[Any]:
    seen: set[int] = set()
    for page in writer.pages:
        fonts: Any = page["/Resources"]["/Font"]  # type: ignore[index]
        for reference in fonts.get_object().values():
            if reference.idnum not in seen:
                seen.add(reference.idnum)
                yield reference.get_object()


def _read_glyphs(widths: Any) -> set[int]:
    """Return the glyphs of a font's widths: `first [w …]` or `first last w` (ISO 32000-1, 9.7.4.3)."""
    found: set[int] = set()
    items = iter(widths.get_object())
    for first in items:
        second = next(items)
        if isinstance(second, ArrayObject):
            found.update(range(int(first), int(first) + len(second)))
        else:
            found.update(range(int(first), int(second) + 1))
            next(items)
    return found


def _subset(path: Path, glyphs: set[int]) -> bytes:
    options = Options(retain_gids=True, notdef_outline=True, layout_features=[], hinting=False, drop_tables=[])
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "name", "post", "cmap", "OS/2", "DSIG", "STAT"]
    with TTFont(path, recalcTimestamp=False) as font:
        subsetter = Subsetter(options)
        subsetter.populate(gids=sorted(glyphs))
        subsetter.subset(font)
        file = BytesIO()
        font.save(file)
    return file.getvalue()
