"""The comparison's job as a job of k9ops: recorded, claimed and concluded like every other."""

from __future__ import annotations

import time

import dramatiq
from note import note_start

from k9ops.broker.build import install_broker

broker = install_broker()

from k9ops.broker.enqueue import enqueue_run  # noqa: E402 (the broker first)
from k9ops.config.settings import get_settings  # noqa: E402
from k9ops.db.engine import get_engine  # noqa: E402
from k9ops.outcome import Outcome  # noqa: E402


@dramatiq.actor(queue_name="bench", is_audited=False)
def note(*, sent_s: float) -> Outcome:
    note_start(sent_s)
    return Outcome("succeeded", "Noted.", {"n": 1})


def send() -> None:
    enqueue_run(get_engine(), broker, get_settings(), note, {"sent_s": time.monotonic()})


def send_many(count: int) -> None:
    from k9ops.broker.batches import enqueue_runs

    for start in range(0, count, 1000):
        sent_s = time.monotonic()
        size = min(1000, count - start)
        enqueue_runs(get_engine(), broker, note, [{"sent_s": sent_s}] * size)
