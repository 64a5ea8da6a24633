"""Charts as inline SVG: bars without text, whose labels are HTML, so that Arabic in them is shaped like all other."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _GAP = 1000, 170, 0.35


def draw_bars(bars: Sequence[tuple[str, float, str]], *, title: str, is_rtl: bool) -> Markup:
    """Return a chart; the first bar stands where reading begins.

    Args:
        bars: Label, height and height as text.
        title: What it shows; read out with the bars by a program that reads to people.
        is_rtl: Whether reading begins at the right.
    """
    if not bars:
        return Markup()
    highest = max(value for _, value, _ in bars) or 1.0
    step = _WIDTH / len(bars)
    shapes = Markup()
    for index, (_, value, _) in enumerate(bars):
        place = len(bars) - 1 - index if is_rtl else index
        height = _HEIGHT * value / highest
        shapes += Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="#2f6690"/>').format(
            place * step + step * _GAP / 2, _HEIGHT - height, step * (1 - _GAP), height
        )
    described = Markup("{}. {}").format(title, "; ".join(f"{label}: {value}" for label, _, value in bars))
    return Markup(
        '<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" preserveAspectRatio="none"'
        ' style="width: 100%; height: 22mm" role="img"><title>{}</title>{}'
        '<path d="M0 {} H{}" stroke="#555" stroke-width="2"/></svg>'
    ).format(_WIDTH, _HEIGHT + 2, described, shapes, _HEIGHT + 1, _WIDTH)
