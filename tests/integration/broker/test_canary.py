"""What a canary says of the worker's machine."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

from k9ops.broker import maintenance


@pytest.mark.parametrize("ahead_s", [0, 45, -3600])
def test_canary_measures_its_clock_against_postgresql(
    engine: Engine, ahead_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "time", SimpleNamespace(time=lambda: time.time() + ahead_s))
    evidence = maintenance.answer(engine).evidence
    assert evidence is not None
    assert evidence["clock_ahead_s"] == pytest.approx(ahead_s, abs=5)
