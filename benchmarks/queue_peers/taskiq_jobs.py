"""The comparison's job in Taskiq, on a stream of Redis, which acknowledges."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from note import note_start
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url=f"{os.environ['REDIS_URL']}/1")


@broker.task(task_name="note")
def note(sent_s: float) -> None:
    note_start(sent_s)


runner = asyncio.Runner()


@contextmanager
def sending() -> Iterator[None]:
    with runner:
        runner.run(broker.startup())
        yield
        runner.run(broker.shutdown())


def send() -> None:
    runner.run(note.kiq(time.monotonic()))
