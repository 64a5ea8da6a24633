import time

import pytest

from k9ops.cli.checks.clocks import judge_skew, measure_skew


@pytest.mark.parametrize(
    ("skew_s", "status"), [(0.0, "ok"), (1.9, "ok"), (-2.1, "warn"), (29.0, "warn"), (31.0, "fail"), (-3600.0, "fail")]
)
def test_judge_skew_warns_before_it_fails(skew_s: float, status: str) -> None:
    finding = judge_skew("Redis", skew_s)
    assert finding.status == status
    assert bool(finding.advice) is (status != "ok")
    assert ("behind" in finding.message) is (skew_s <= 0)


def test_measure_skew_finds_a_clock_that_is_ahead() -> None:
    assert measure_skew(lambda: time.time() + 100) == pytest.approx(100, abs=1)


def test_judge_skew_says_between_which_clocks() -> None:
    finding = judge_skew("The worker's machine k9-east", 45.0, of="PostgreSQL")
    assert finding.status == "fail"
    assert finding.message == "The worker's machine k9-east is 45.00 s ahead of PostgreSQL."
