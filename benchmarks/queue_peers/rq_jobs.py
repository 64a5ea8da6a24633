"""The comparison's job in RQ, without stored results."""

from __future__ import annotations

import os
import time

import redis
from note import note_start
from rq import Queue

queue = Queue("bench", connection=redis.Redis.from_url(f"{os.environ['REDIS_URL']}/1"))


def note(sent_s: float) -> None:
    note_start(sent_s)


def send() -> None:
    queue.enqueue("rq_jobs.note", time.monotonic(), result_ttl=0)


def send_many(count: int) -> None:
    for start in range(0, count, 1000):
        size = min(1000, count - start)
        queue.enqueue_many([Queue.prepare_data("rq_jobs.note", (time.monotonic(),), result_ttl=0) for _ in range(size)])
