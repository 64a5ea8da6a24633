"""Each template looks as it did when a person last looked at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from tests.integration.reports.conftest import Unit
from tests.integration.reports.references import (
    CASES,
    DIFFERENCES,
    FOLDER,
    LARGEST_COUNT,
    Case,
    count_changes,
    draw_pages,
    leave_difference,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_template_looks_like_its_reference(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    unit: Unit = request.getfixturevalue(f"seeded_{case.generation.lower()}")
    problems = []
    for name, made in draw_pages(unit, case, tmp_path):
        with Image.open(FOLDER / name) as reference:
            count = count_changes(reference, made)
            if count > LARGEST_COUNT:
                problems.append(f"{count} squares differ, see {leave_difference(name, reference, made)}")
    assert problems == []


def test_every_reference_belongs_to_a_template() -> None:
    expected = {f"{case.name}-{page}.png" for case in CASES for page in range(1, case.pages + 1)}
    assert {path.name for path in FOLDER.iterdir()} == expected
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000


def open_reference(name: str) -> Image.Image:
    with Image.open(FOLDER / name) as picture:
        return picture.convert("L")


def test_the_comparison_sees_what_a_reader_would_see_and_not_smoother_edges(tmp_path: Path) -> None:
    page = open_reference("training-ar-b-fast-1.png")
    assert count_changes(page, page.filter(ImageFilter.BoxBlur(0.4))) <= LARGEST_COUNT
    assert count_changes(page, page.point([min(255, value + 12) for value in range(256)])) <= LARGEST_COUNT
    assert count_changes(page, ImageChops.offset(page, 4, 0)) > LARGEST_COUNT
    column = page.crop((430, 90, 520, 250))  # of names
    moved = page.copy()
    moved.paste(column, (426, 90))
    assert count_changes(page, moved) > LARGEST_COUNT
    turned = page.copy()
    turned.paste(page.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((0, 100, page.width, 120)), (0, 100))
    assert count_changes(page, turned) > LARGEST_COUNT
    crossed = page.copy()
    ImageDraw.Draw(crossed).rectangle((200, 200, 240, 208), fill=0)
    path = leave_difference("example.png", page, crossed)
    assert count_changes(page, crossed) > LARGEST_COUNT
    with Image.open(path) as picture:
        assert picture.size == page.size
    path.unlink()
    assert DIFFERENCES.is_dir()
