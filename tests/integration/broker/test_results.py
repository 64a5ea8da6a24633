"""Where a result stands in Redis, and what becomes of its message."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
from sqlalchemy import Engine
from tests.integration.broker.test_worker import wait_for_end, working
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker.build import K9opsRedisBroker, build_broker
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.outcome import Outcome

pytestmark = pytest.mark.usefixtures("no_resend")


def touch() -> Outcome:
    return Outcome("succeeded", "Touched.", {"n": 1})


def count_kept(broker: K9opsRedisBroker) -> int:
    """Return how many messages Redis still has, those being executed included."""
    return int(broker.client.hlen(f"{broker.namespace}:tests.msgs"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_result_stands_in_the_database_of_results(
    engine: Engine, broker: K9opsRedisBroker, redis_url: str, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """By another name it is another server, which is asked by itself."""
    monkeypatch.setenv("K9OPS_RESULT_URL", f"{redis_url.replace('127.0.0.1', host)}/5")
    get_loaded_settings.cache_clear()
    other = build_broker(get_settings())
    dramatiq.set_broker(other)
    actor: dramatiq.Actor[..., Any] = dramatiq.actor(touch, broker=other, queue_name="tests")
    message = actor.send()
    with working(other):
        assert message.get_result(block=True, timeout=DEADLINE_S * 1000)["evidence"] == {"n": 1}
        wait_for(lambda: count_kept(other) == 0)
    results = other.get_results_backend().client
    assert results.dbsize() == 1
    assert results.pttl(results.keys()[0]) > 0
    results.close()
    other.client.close()


def test_message_is_acknowledged_although_redis_has_no_memory_left(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def fill_memory() -> Outcome:
        broker.client.config_set("maxmemory", 1)
        return Outcome("succeeded", "Filled.", {"n": 1})

    with working(broker):
        message = fill_memory.send()
        assert wait_for_end(engine, message.message_id).state == "succeeded"
        wait_for(lambda: count_kept(broker) == 0)
        broker.client.config_set("maxmemory", 0)
        assert message.get_result()["evidence"] == {"n": 1}
