"""Pictures of the templates that a person has looked at, and how a newly rendered page is compared with them.

    make references

draws them anew; look at what `git diff` says has changed before you commit it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageChops, ImageOps
from tests.integration.reports.conftest import Unit, make_unit
from tests.integration.reports.documents import PDFTOPPM, WAYS, describe, replace_rows

from k9ops.db.application import Generation
from k9ops.embedded.places import temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.reports.catalogue import REPORTS

FOLDER = Path(__file__).parent / "references"
DIFFERENCES = Path(__file__).parents[3] / ".differences"
DOTS_PER_INCH = 55
ROWS = 12

# Squares of the picture, in dots: their mean grey changes little when edges are smoothed in another way, and much when
# a word moves or is set in another font.
SQUARE = 6
LARGEST_CHANGE = 30
LARGEST_COUNT = 4


@dataclass(frozen=True)
class Case:
    """A template as one kind of reader gets it.

    Attributes:
        report: Key of the report.
        language: Of its words.
        generation: Of the sample unit.
        way: How it is rendered.
        pages: How many pages of it are kept.
        is_dressed: Whether it has Arabic-Indic digits, Hijri dates and a logo.
    """

    report: str
    language: str = "ar"
    generation: Generation = "B"
    way: str = "plain"
    pages: int = 1
    is_dressed: bool = False

    @property
    def name(self) -> str:
        """Beginning of its pictures' names."""
        marks = [self.report, self.language, self.generation, self.way, "dressed" if self.is_dressed else ""]
        return "-".join(filter(None, marks)).lower()


CASES = (
    *(Case(report, pages=2 if report == "operations" else 1) for report in REPORTS),
    *(
        Case(report, language)
        for report in ("veterinary", "handler_report", "operations")
        for language in ("en", "both")
    ),
    *(Case("training", language, way="fast") for language in ("ar", "en", "both")),
    *(Case(report, generation="A") for report in ("attendance", "daily_schedule", "attendance_monthly")),
    *(Case("incidents", is_dressed=True, way=way) for way in WAYS),
)

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><circle cx="10" cy="10" r="9" fill="#12395b"/>
<path d="M5 6 L10 3 L15 6 V12 L10 17 L5 12 Z" fill="#fff"/></svg>"""


def draw_pages(unit: Unit, case: Case, folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture of each page of a case that is kept."""
    if case.is_dressed:
        logo = folder / "logo.svg"
        logo.write_text(_LOGO)
        unit = unit.with_settings(report_digits="arabic", report_hijri=True, report_logo=logo)
    document = describe(unit, case.report, folder, language=case.language)
    if len(document["sections"]) == 1:
        section = document["sections"][0]
        replace_rows(document, list(read_first(section, ROWS)))
    WAYS[case.way](document, folder / "x.pdf")
    options = ["-r", str(DOTS_PER_INCH), "-gray", "-l", str(case.pages)]
    subprocess.run([PDFTOPPM, *options, str(folder / "x.pdf"), str(folder / "page")], check=True)
    for number, path in enumerate(sorted(folder.glob("page-*.pgm")), start=1):
        with Image.open(path) as picture:
            yield f"{case.name}-{number}.png", picture.copy()


def read_first(section: dict[str, object], count: int) -> Iterator[list[str]]:
    """Yield the first rows of a section."""
    with Path(str(section["path"])).open(encoding="utf-8") as file:
        for _, line in zip(range(count), file, strict=False):
            yield json.loads(line)


def count_changes(one: Image.Image, other: Image.Image) -> int:
    """Return how many squares of two pictures differ; all of them when the sizes do."""
    size = (one.width // SQUARE, one.height // SQUARE)
    if one.size != other.size:
        return size[0] * size[1]
    small = [picture.convert("L").resize(size, Image.Resampling.BOX) for picture in (one, other)]
    return sum(ImageChops.difference(*small).histogram()[LARGEST_CHANGE:])


def leave_difference(name: str, reference: Image.Image, made: Image.Image) -> Path:
    """Write a picture for a person: what is new in blue, what is gone in red; return its path."""
    DIFFERENCES.mkdir(exist_ok=True)
    made = made.convert("L")
    reference = (
        ImageOps.pad(reference.convert("L"), made.size) if reference.size != made.size else reference.convert("L")
    )
    # Ink that only the reference has leaves red alone bright, ink that only the new page has leaves blue.
    path = DIFFERENCES / name
    Image.merge("RGB", (made, ImageChops.darker(made, reference), reference)).save(path)
    return path


def renew(folder: Path) -> None:
    """Draw all references anew."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.png"):
        path.unlink()
    with PostgresServer(folder / "postgres", bin_dir=wheel_bin_dir(), options={"fsync": "off"}) as server:
        for generation in ("A", "B"):
            for unit in make_unit(server, generation, folder / generation):
                for case in CASES:
                    if case.generation == generation:
                        with TemporaryDirectory() as place:
                            for name, picture in draw_pages(unit, case, Path(place)):
                                picture.quantize(16).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    with temporary_folder() as scratch:
        renew(scratch)
