"""What becomes of a message of `actor.send()`: the ledger takes it, then the broker, or the relay does later."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import dramatiq
from sqlalchemy.exc import DBAPIError

from k9ops.config.logging import get_logger
from k9ops.db.engine import get_engine
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable
from k9ops.ledger.outbox import mark_unsent

#: Message option that says: the ledger has this run already.
RECORDED_OPTION = "k9ops_recorded"

_LOG = get_logger("k9ops.broker")


def send_plainly(
    message: dramatiq.Message[Any],
    *,
    was_recorded: bool,
    is_for_later: bool,
    promptly: Callable[[], None],
    patiently: Callable[[], None],
) -> None:
    """Send a message that `actor.send()` or Dramatiq itself has made.

    With its run recorded just now it is accepted: what is for later, and what the broker does not take soon, is left to
    the relay. Any other has the broker alone, or is the copy of one that a worker holds: it waits for the broker, and
    whoever sends it is told when that fails.

    Args:
        message: After the recorder has seen it.
        was_recorded: Whether the ledger had its run before.
        is_for_later: Whether it is due later.
        promptly: Sends it soon or not at all.
        patiently: Sends it within the ordinary limits.

    Raises:
        BrokerUnavailable: Of `patiently`.
    """
    is_accepted = not was_recorded and RECORDED_OPTION in message.options
    if not is_accepted:
        patiently()
    elif not is_for_later:
        try:
            promptly()
        except BrokerUnavailable as exc:
            # The broker may have it all the same: the claim makes the second copy harmless.
            _leave_to_relay(message, exc)


def _leave_to_relay(message: dramatiq.Message[Any], problem: BrokerUnavailable) -> None:
    _LOG.warning(
        "run.unsent",
        run_id=message.message_id,
        job=message.actor_name,
        problem=problem.user_message,
        fallback="outbox",
    )
    with contextlib.suppress(DatabaseUnavailable, DBAPIError):  # it is recorded; it seems lost, and is sent again later
        mark_unsent(get_engine(), [uuid.UUID(message.message_id)])
