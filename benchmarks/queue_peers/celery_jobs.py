"""The comparison's job in Celery, without stored results."""

from __future__ import annotations

import os
import time

from celery import Celery
from note import note_start

app = Celery("celery_jobs", broker=f"{os.environ['REDIS_URL']}/1")
app.conf.task_ignore_result = True


@app.task(name="note")
def note(sent_s: float) -> None:
    note_start(sent_s)


def send() -> None:
    note.delay(time.monotonic())
