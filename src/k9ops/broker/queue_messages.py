"""What a broker knows of its queues: messages that wait, are fetched, are delayed, or are dead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class QueueMessages:
    """Messages of a queue.

    Attributes:
        queue: Its name.
        waiting: No worker has fetched them.
        delayed: Wait in the broker for their time; k9ops itself leaves none there.
        fetched: A worker holds them, executed now or next; None where the broker does not say.
        dead: Dead letters.
    """

    queue: str
    waiting: int
    delayed: int
    fetched: int | None
    dead: int


@dataclass(frozen=True)
class DeadLetter:
    """A message that Dramatiq gave up.

    Attributes:
        message_id: Also the run's id.
        job: Name of the actor.
        queue: Where it was.
        died_at: Aware UTC.
    """

    message_id: str
    job: str
    queue: str
    died_at: datetime


def read_dead_letter(body: bytes, queue: str, died_at: datetime | None) -> DeadLetter:
    """Return what a message says of itself.

    Args:
        body: JSON of Dramatiq.
        queue: Where it was.
        died_at: UTC, naive or aware; None takes the time when it was made.
    """
    message = json.loads(body)
    if died_at is None:
        died_at = datetime.fromtimestamp(message["message_timestamp"] / 1000, tz=UTC)
    elif died_at.tzinfo is None:
        died_at = died_at.replace(tzinfo=UTC)
    return DeadLetter(message["message_id"], message["actor_name"], queue, died_at)
