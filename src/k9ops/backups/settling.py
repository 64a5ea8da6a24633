"""What follows a swap: its audit entries, in both databases, whatever was killed in between."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg

from k9ops.backups.audit import carry_events, record_swap_once
from k9ops.backups.connections import DatabaseTarget, Session
from k9ops.backups.sides import Side, SwapRecord, list_sides, mark_statement
from k9ops.config.logging import get_logger
from k9ops.errors import K9opsError, TransientError

log = get_logger("k9ops.backups")


@contextlib.contextmanager
def swap_lock(session: Session, live: str) -> Iterator[None]:
    """Keep everybody else from changing which database is the live one, until the block ends.

    Raises:
        TransientError: Somebody else is doing it.
    """
    key = int.from_bytes(hashlib.sha256(f"k9ops swap {live}".encode()).digest()[:8], signed=True)
    row: Any = session.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
    if not row[0]:
        raise TransientError(f"Another process is changing which database is {live}; try again in a minute.")
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.Error):
            session.execute("SELECT pg_advisory_unlock(%s)", [key])


def settle_swaps(session: Session, target: DatabaseTarget) -> None:
    """Carry the audit entries of each swap that was cut short before that, and write the swap's own.

    The mark that the swap left is the record; this only copies it to where people look. A database that cannot be
    reached is logged, and tried again at the next occasion.

    Args:
        session: To neither of the databases; holds the lock.
        target: The live database.
    """
    for side in list_sides(session, target.database):
        swap = side.mark.swap
        if swap is None or swap.is_settled:
            continue
        try:
            _settle(session, target, side, swap)
        except (K9opsError, psycopg.Error) as exc:
            log.warning("swap.unsettled", database=side.database, swap_id=swap.swap_id, reason=str(exc))


def _settle(session: Session, target: DatabaseTarget, side: Side, swap: SwapRecord) -> None:
    former = target.with_database(side.database)
    carry_events(former, target, since=swap.shared_until)
    hidden = {"is_settled", "shared_until", "origin", "reason"}
    for database in (target, former):
        record_swap_once(
            database,
            at=swap.at,
            live=target.database,
            actor=swap.actor,
            action=swap.action,
            origin=swap.origin,
            reason=swap.reason,
            after={"former_database": side.database} | swap.model_dump(mode="json", exclude=hidden),
        )
    settled = swap.model_copy(update={"is_settled": True})
    session.execute(mark_statement(side.mark.model_copy(update={"swap": settled})))
