from __future__ import annotations

import pytest

from k9ops.private import HIDDEN, hide_params, pick_private
from k9ops.reports.catalogue import PRIVATE_PARAMS, REPORTS


@pytest.mark.parametrize(
    ("names", "hidden", "private"),
    [
        ((), {"a": 1, "b": {"c": "x", "d": None}}, []),
        (("a",), {"a": HIDDEN, "b": {"c": "x", "d": None}}, [1]),
        (("b.c",), {"a": 1, "b": {"c": HIDDEN, "d": None}}, ["x"]),
        (("b",), {"a": 1, "b": HIDDEN}, [{"c": "x", "d": None}]),
        (("b.d", "b.e", "z", "a.c"), {"a": HIDDEN, "b": {"c": "x", "d": None}}, [1]),
    ],
)
def test_private_values_are_hidden_and_found_by_their_names(
    names: tuple[str, ...], hidden: dict[str, object], private: list[object]
) -> None:
    params = {"a": 1, "b": {"c": "x", "d": None}}
    assert hide_params(params, names) == hidden
    assert pick_private(params, names) == private
    assert params == {"a": 1, "b": {"c": "x", "d": None}}


def test_who_a_report_looks_at_is_private() -> None:
    kinds = {item.kind for report in REPORTS.values() for item in report.parameters if item.is_private}
    assert kinds == {"employee", "handler_report"}
    assert {f"params.{item.name}" for item in REPORTS["attendance"].parameters} & PRIVATE_PARAMS == {"params.employee"}
