from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from k9ops.backups.differences import count_exclusive

numbers = st.lists(st.integers(-5, 5), max_size=30)


@given(numbers, numbers)
def test_count_exclusive_counts_as_a_difference_of_multisets_does(ours: list[int], theirs: list[int]) -> None:
    left, right = Counter(ours), Counter(theirs)
    found = count_exclusive(iter(sorted(ours)), iter(sorted(theirs)))
    assert found == ((left - right).total(), (right - left).total())
