from k9ops.cli.progress import Pace


def test_pace_says_rate_and_time_left_of_what_this_process_moved() -> None:
    pace = Pace()
    assert pace.describe(500_000_000, 1_000_000_000, now_s=10.0) == ""
    assert pace.describe(500_000_000, 1_000_000_000, now_s=20.0) == ""
    assert pace.describe(550_000_000, 1_000_000_000, now_s=20.0) == ", 5.0 MB/s, 1 min 30 s left"
    assert pace.describe(1_000_000_000, 1_000_000_000, now_s=110.0) == ", 5.0 MB/s"


def test_pace_says_nothing_of_the_time_left_of_an_unknown_total_and_starts_again_after_a_step_back() -> None:
    pace = Pace()
    pace.describe(6_000_000, 0, now_s=0.0)
    assert pace.describe(16_000_000, 0, now_s=1.0) == ", 10.0 MB/s"
    assert pace.describe(5_000_000, 0, now_s=2.0) == ""
