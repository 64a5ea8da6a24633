"""Background service of the K9 Operations Management System.

Application code needs two names: `enqueue` and the actors in `k9ops.actors`.

Example:
    >>> from k9ops import enqueue
    >>> enqueue("create_backup", requested_by="admin").path  # doctest: +SKIP
    'worker'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k9ops.version import __version__

if TYPE_CHECKING:
    import dramatiq
    from sqlalchemy import Connection

    from k9ops.broker.enqueue import Enqueued, Fallback

__all__ = ["__version__", "enqueue"]


def enqueue(
    actor: dramatiq.Actor[..., Any] | str,
    *,
    requested_by: str | None = None,
    delay_s: float = 0.0,
    connection: Connection | None = None,
    fallback: Fallback = "outbox",
    **params: Any,
) -> Enqueued:
    """Ask for a run of a job: it is recorded first, then sent to a worker.

    Args:
        actor: The job's actor or its name.
        requested_by: Who asks: a user's name, a service.
        delay_s: Earliest start, in seconds from now.
        connection: An open transaction of the same database: the run exists if and only if that commits.
        fallback: When Redis is away: `outbox` (default; it is sent when Redis is back), `inline` (executed here if
            the job is declared safe for that, else as `outbox`) or `raise` (as `outbox`, and `BrokerUnavailable`).
        **params: The job's parameters, JSON values.

    Returns:
        The run's id, whether it is new (a job has one run for each slot), and the path that it took.

    Raises:
        JobUnknown: No job has this name.
        ParamsInvalid: The job does not take these parameters.
        DatabaseUnavailable: PostgreSQL is away: nothing is recorded and nothing sent.
        BrokerUnavailable: With `fallback="raise"` only.
    """
    from k9ops.actors import broker
    from k9ops.broker.enqueue import enqueue_run
    from k9ops.broker.jobs import find_actor
    from k9ops.config.settings import get_settings
    from k9ops.db.engine import get_engine

    name = actor if isinstance(actor, str) else actor.actor_name
    return enqueue_run(
        get_engine(),
        broker,
        get_settings(),
        find_actor(broker, name),
        params,
        requested_by=requested_by,
        delay_s=delay_s,
        connection=connection,
        fallback=fallback,
    )
