"""The last day of each queue as bars: what waited, was done, and failed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from k9ops.ledger.queue_history import KEPT, SAMPLE_EVERY, QueueSample, sum_up

#: Of a chart, in its own units: one bar for each sample of a day.
BAR_WIDTH = 2
CHART_WIDTH = int(KEPT / SAMPLE_EVERY) * BAR_WIDTH
CHART_HEIGHT = 32


@dataclass(frozen=True)
class Chart:
    """Bars over a day, the highest as high as the chart.

    Attributes:
        kind: `waiting`, `done` or `failed`.
        figure: The most that waited at once, or the sum of the others.
        bars: x, y and height of each.
    """

    kind: str
    figure: int
    bars: tuple[tuple[int, int, int], ...]


def draw_charts(samples: Sequence[QueueSample], *, now: datetime) -> dict[str, list[Chart]]:
    """Return the three charts of each queue that has samples; the right edge is now."""
    sums = sum_up(samples)
    return {
        queue: [
            Chart(kind, sums[queue][figure], _draw_bars([item for item in samples if item.queue == queue], kind, now))
            for kind, figure in (("waiting", "most_waiting"), ("done", "done"), ("failed", "failed"))
        ]
        for queue in sums
    }


def _draw_bars(samples: Sequence[QueueSample], kind: str, now: datetime) -> tuple[tuple[int, int, int], ...]:
    highest = max(getattr(sample, kind) for sample in samples)
    bars = []
    for sample in samples:
        count: int = getattr(sample, kind)
        if count:
            column = int((now - sample.at) / SAMPLE_EVERY)
            x = max(0, CHART_WIDTH - (column + 1) * BAR_WIDTH)
            height = max(2, round(CHART_HEIGHT * count / highest))
            bars.append((x, CHART_HEIGHT - height, height))
    return tuple(bars)
