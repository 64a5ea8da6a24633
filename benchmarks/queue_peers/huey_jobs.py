"""The comparison's job in Huey, without stored results."""

from __future__ import annotations

import os
import time

from huey import RedisHuey
from note import note_start

huey = RedisHuey("bench", url=f"{os.environ['REDIS_URL']}/1", results=False)


@huey.task()
def note(sent_s: float) -> None:
    note_start(sent_s)


def send() -> None:
    note(time.monotonic())
