"""Check of the clocks: this machine, PostgreSQL and Redis should agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import redis

from k9ops.broker.build import build_redis_client
from k9ops.broker.problems import broker_unavailable
from k9ops.cli.checks.finding import Finding, Status
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.ledger.slots import read_clock

_WARN_S = 2.0
_FAIL_S = 30.0


def check_clocks(settings: Settings) -> Iterator[Finding]:
    """Check how far PostgreSQL's clock, and Redis's where it is the broker, are from this machine's.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        BrokerUnavailable: Redis does not answer.
    """
    engine = get_engine()
    read_clock(engine)  # connects, so that the measured one is a round trip and no more
    yield judge_skew("PostgreSQL", measure_skew(lambda: read_clock(engine).timestamp()))
    if settings.is_rabbitmq:
        return
    client = build_redis_client(settings.effective_broker_url, settings, socket_timeout_s=settings.connect_timeout_s)
    try:
        client.ping()
        yield judge_skew("Redis", measure_skew(lambda: _read_redis_clock(client)))
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, "Redis does not answer.") from exc
    finally:
        client.close()


def measure_skew(read_s: Callable[[], float]) -> float:
    """Return how many seconds another clock is ahead of this machine's.

    Args:
        read_s: Asks it for seconds since 1970; it is taken to answer halfway between question and answer.
    """
    before_s = time.time()
    theirs_s = read_s()
    return theirs_s - (before_s + time.time()) / 2


def judge_skew(whose: str, skew_s: float, *, of: str = "this machine") -> Finding:
    """Return the finding for a clock that is `skew_s` ahead of another, this machine's or `of`."""
    status: Status = "ok" if abs(skew_s) <= _WARN_S else "warn" if abs(skew_s) <= _FAIL_S else "fail"
    direction = "ahead of" if skew_s > 0 else "behind"
    advice = "" if status == "ok" else "Let NTP set the clocks of all machines (timedatectl set-ntp true)."
    return Finding("clocks", status, f"{whose} is {abs(skew_s):.2f} s {direction} {of}.", advice)


def _read_redis_clock(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6
