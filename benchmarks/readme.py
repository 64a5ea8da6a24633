"""Keeps the sections of benchmarks/README.md, each written by one script."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).parent / "README.md"


def write_section(name: str, text: str) -> None:
    """Replace what stands between the marks of a section.

    Raises:
        ValueError: README.md lacks the marks.
    """
    document = PATH.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{PATH} has no section {name}")
    PATH.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", encoding="utf-8")
