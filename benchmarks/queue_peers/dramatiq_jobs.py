"""The comparison's job in plain Dramatiq, as its documentation shows it."""

from __future__ import annotations

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from note import note_start

dramatiq.set_broker(RedisBroker(url=f"{os.environ['REDIS_URL']}/1"))


@dramatiq.actor(queue_name="bench")
def note(sent_s: float) -> None:
    note_start(sent_s)


def send() -> None:
    note.send(time.monotonic())
