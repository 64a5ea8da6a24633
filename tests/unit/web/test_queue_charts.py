from __future__ import annotations

from datetime import UTC, datetime, timedelta

from k9ops.ledger.queue_history import QueueSample
from k9ops.web.pages.queue_charts import BAR_WIDTH, CHART_HEIGHT, CHART_WIDTH, draw_charts

NOW = datetime(2026, 6, 4, 9, tzinfo=UTC)


def sample(hours: float, *, waiting: int = 0, done: int = 0, failed: int = 0) -> QueueSample:
    return QueueSample("tests", NOW - timedelta(hours=hours), waiting, done, failed)


def test_bars_stand_at_their_time_and_the_highest_fills_the_chart() -> None:
    charts = draw_charts(
        [sample(23.9, waiting=3), sample(1, done=8, waiting=6), sample(0, done=2000, failed=1)], now=NOW
    )
    waiting, done, failed = charts["tests"]
    assert (waiting.kind, waiting.figure, done.figure, failed.figure) == ("waiting", 6, 2008, 1)
    assert waiting.bars == (
        (0, CHART_HEIGHT // 2, CHART_HEIGHT // 2),
        (CHART_WIDTH - 5 * BAR_WIDTH, 0, CHART_HEIGHT),
    )
    assert failed.bars == ((CHART_WIDTH - BAR_WIDTH, 0, CHART_HEIGHT),)
    assert done.bars[0][2] == 2  # seen, however small


def test_quiet_queue_has_empty_charts() -> None:
    assert [chart.bars for chart in draw_charts([sample(1)], now=NOW)["tests"]] == [(), (), ()]
    assert draw_charts([], now=NOW) == {}
