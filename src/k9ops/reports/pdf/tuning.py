"""Two things that make WeasyPrint 70 lay out Arabic twice as fast, without a difference in what it draws.

Each replaces one function of exactly that version; any other version is left as it is.
"""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import Any

import weasyprint
from weasyprint.formatting_structure import boxes
from weasyprint.layout import inline
from weasyprint.text import line_break

TESTED_VERSION = "70.0"


def is_known_version() -> bool:
    """Tell whether WeasyPrint is the version whose inside is known."""
    return bool(weasyprint.__version__ == TESTED_VERSION)


@lru_cache(maxsize=1)
def tune() -> None:
    """Replace what can be replaced; once for the process."""
    if is_known_version():
        _lay_lines_out_once()
        _keep_shaped_text()


def _lay_lines_out_once() -> None:
    """Accept the first place of a line where there is no float that it could collide with.

    In a block that runs from right to left WeasyPrint compares a line's end with a bound that it never meets, and lays
    every line out again. A candidate without end passes the comparison.
    """
    original = inline.avoid_collisions

    def avoid_collisions(context: Any, box: Any, containing_block: Any, outer: bool = True) -> Any:
        found = original(context, box, containing_block, outer)
        if not outer and box.height == 0 and type(box) is boxes.LineBox and not context.excluded_shapes:
            box.height = inf
        return found

    inline.avoid_collisions = avoid_collisions


def _keep_shaped_text() -> None:
    """Keep each text's shape from layout until it is drawn, instead of shaping it again."""
    layout = line_break.Layout
    reactivate = layout.reactivate

    def deactivate(self: Any) -> None:
        return None

    def reactivate_if_gone(self: Any, style: Any) -> None:
        if self.justification_spacing or not hasattr(self, "layout"):
            reactivate(self, style)

    layout.deactivate = deactivate
    layout.reactivate = reactivate_if_gone
