"""The comparison's job in Procrastinate, which keeps its jobs in PostgreSQL."""

from __future__ import annotations

import os
import time

import procrastinate
from note import note_start

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


@app.task(name="note", queue="bench")
def note(sent_s: float) -> None:
    note_start(sent_s)


def send_many(count: int) -> None:
    for start in range(0, count, 500):
        size = min(500, count - start)
        note.batch_defer(*({"sent_s": time.monotonic()} for _ in range(size)))


def send() -> None:
    note.defer(sent_s=time.monotonic())


sending = app.open
