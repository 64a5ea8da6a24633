from __future__ import annotations

from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from k9ops.cli.params import parse_params
from k9ops.errors import ParamsInvalid


@pytest.fixture
def actor() -> dramatiq.Actor[..., Any]:
    def job(*, slot: str | None = None, enabled: bool = True, count: int = 1, share: float = 0.5, name: str) -> None:
        return None

    return dramatiq.actor(job, broker=StubBroker(middleware=[]))


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("enabled=false", {"enabled": False}),
        ("enabled=true", {"enabled": True}),
        ("count=12", {"count": 12}),
        ("share=2", {"share": 2.0}),
        ("slot=null", {"slot": None}),
        ("slot=2026-11-24T02:00:00+03:00", {"slot": "2026-11-24T02:00:00+03:00"}),
        ("name=12", {"name": "12"}),
        ("name=null", {"name": "null"}),
        ("name=a=b", {"name": "a=b"}),
        ("name=", {"name": ""}),
        ("name=سعد", {"name": "سعد"}),
    ],
)
def test_parse_params_gives_what_the_job_declares(
    actor: dramatiq.Actor[..., Any], pair: str, expected: dict[str, Any]
) -> None:
    params = parse_params(actor, [pair])
    assert params == expected
    assert [type(value) for value in params.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["enabled"], "must look like name=value"),
        (["=1"], "must look like name=value"),
        (["count=1", "count=2"], "given twice"),
        (["colour=red"], "its parameters are: slot, enabled, count, share, name"),
        (["count=many"], "count=many: it must be a valid integer"),
        (["enabled=[1]"], "it must be a valid boolean"),
    ],
)
def test_parse_params_says_what_is_wrong(actor: dramatiq.Actor[..., Any], pairs: list[str], words: str) -> None:
    with pytest.raises(ParamsInvalid, match=words):
        parse_params(actor, pairs)
