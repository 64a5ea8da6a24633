"""A process that asks for runs in every way that there is, and notes the ids of those that were accepted.

Usage: `python -m tests.chaos.storm_producer SEED PAUSE_S FILE`, until it is ended. Each line of the file is an accepted
run.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from dramatiq.errors import DramatiqError
from sqlalchemy.exc import DBAPIError
from tests.chaos import storm_jobs as jobs

from k9ops import enqueue, enqueue_many
from k9ops.broker.plain_sending import RECORDED_OPTION
from k9ops.db.engine import database_errors, get_engine
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable

BATCH = 8
_FIRST_SLOT = datetime(2026, 1, 1, tzinfo=UTC)


def produce(seed: int, pause_s: float, path: Path) -> None:
    """Ask for runs until this process is ended."""
    chance = random.Random(seed)  # noqa: S311
    ways = [_ask_one, _ask_slowly, _ask_many, _ask_for_slot, _ask_in_transaction, _ask_later, _send, _ask_others]
    with path.open("a", encoding="ascii") as accepted:
        while True:
            way: Callable[[random.Random], list[Any]] = chance.choice(ways)
            try:
                ids = way(chance)
            except (DatabaseUnavailable, BrokerUnavailable, DBAPIError, redis.RedisError, DramatiqError, OSError):
                ids = []
            for run_id in ids:
                accepted.write(f"{run_id}\n")
            accepted.flush()
            time.sleep(pause_s)


def _ask_one(chance: random.Random) -> list[Any]:
    return [enqueue(jobs.count_quickly, number=chance.randrange(1000)).run_id]


def _ask_slowly(chance: random.Random) -> list[Any]:
    return [enqueue(jobs.count_slowly, steps=chance.randrange(1, 12)).run_id]


def _ask_many(chance: random.Random) -> list[Any]:
    return [item.run_id for item in enqueue_many(jobs.count_quickly, [{"number": number} for number in range(BATCH)])]


def _ask_for_slot(chance: random.Random) -> list[Any]:
    slot = (_FIRST_SLOT + timedelta(minutes=chance.randrange(200))).isoformat()
    return [enqueue(jobs.count_slot, slot=slot).run_id for _ in range(2)]


def _ask_in_transaction(chance: random.Random) -> list[Any]:
    with database_errors(), get_engine().begin() as connection:
        return [enqueue(jobs.count_quickly, connection=connection, number=chance.randrange(1000)).run_id]


def _ask_later(chance: random.Random) -> list[Any]:
    return [enqueue(jobs.count_quickly, delay_s=chance.random() * 3, number=1).run_id]


def _send(chance: random.Random) -> list[Any]:
    message = jobs.count_quickly.send(number=chance.randrange(1000))
    # What PostgreSQL did not record is in Redis alone, and may be lost with it.
    return [message.message_id] if RECORDED_OPTION in message.options else []


def _ask_others(chance: random.Random) -> list[Any]:
    job = chance.choice([jobs.count_at_second_try, jobs.count_with_children, jobs.refuse])
    return [enqueue(job, number=chance.randrange(1000)).run_id]


if __name__ == "__main__":
    produce(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
