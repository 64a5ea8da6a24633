"""Jobs that do nothing, for `scale.py`: one of routine, and one whose run stands in the audit."""

from __future__ import annotations

import dramatiq

from k9ops.broker.build import install_broker

broker = install_broker()

from k9ops.outcome import Outcome  # noqa: E402 (the broker first)


@dramatiq.actor(queue_name="bench", is_audited=False)
def routine(*, number: int) -> Outcome:
    return Outcome("succeeded", "Done.", {"number": number})


@dramatiq.actor(queue_name="bench")
def change(*, number: int) -> Outcome:
    return Outcome("succeeded", "Done.", {"number": number})
