"""Background service of the K9 Operations Management System.

Application code needs three names: `enqueue`, `enqueue_many` and the actors in `k9ops.actors`.

Example:
    >>> from k9ops import enqueue
    >>> enqueue("create_backup", requested_by="admin").path  # doctest: +SKIP
    'worker'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from k9ops.version import __version__

if TYPE_CHECKING:
    import dramatiq
    from sqlalchemy import Connection

    from k9ops.broker.enqueue import Enqueued
    from k9ops.broker.jobs import Fallback

__all__ = ["__version__", "enqueue", "enqueue_many"]


def enqueue(
    actor: dramatiq.Actor[..., Any] | str,
    *,
    requested_by: str | None = None,
    delay_s: float = 0.0,
    connection: Connection | None = None,
    fallback: Fallback | None = None,
    **params: Any,
) -> Enqueued:
    """Ask for a run of a job: it is recorded first, then sent to a worker.

    Args:
        actor: The job's actor or its name.
        requested_by: Who asks: a user's name, a service.
        delay_s: Earliest start, in seconds from now.
        connection: An open transaction of the same database: the run exists if and only if that commits.
        fallback: When Redis is away: `outbox` (it is sent when Redis is back), `inline` (executed here if the job is
            declared safe for that and `K9OPS_INLINE_FALLBACK` allows it, else as `outbox`) or `raise` (as `outbox`,
            and `BrokerUnavailable`). None is what the job declares.
        **params: The job's parameters, JSON values.

    Returns:
        The run's id, whether it is new (a job has one run for each slot), and the path that it took.

    Raises:
        JobUnknown: No job has this name.
        ParamsInvalid: The job does not take these parameters.
        DatabaseUnavailable: PostgreSQL is away: nothing is recorded and nothing sent.
        BrokerUnavailable: With `raise` only.
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


def enqueue_many(
    actor: dramatiq.Actor[..., Any] | str,
    params: Iterable[Mapping[str, Any]],
    *,
    requested_by: str | None = None,
    delay_s: float = 0.0,
    connection: Connection | None = None,
    fallback: Literal["outbox", "raise"] = "outbox",
) -> list[Enqueued]:
    """Ask for many runs of a job: all of them are recorded, or none, and sent hundreds at a time.

    Args:
        actor: The job's actor or its name.
        params: The parameters of each run.
        requested_by: As of `enqueue`; likewise the rest.
        delay_s: Earliest start, in seconds from now.
        connection: An open transaction of the same database.
        fallback: When Redis is away: `outbox`, or `raise` (as `outbox`, and `BrokerUnavailable`).

    Returns:
        What became of each, in the same order.

    Raises:
        JobUnknown: No job has this name.
        ParamsInvalid: The job does not take one of them; nothing is recorded.
        DatabaseUnavailable: PostgreSQL is away: nothing is recorded and nothing sent.
        BrokerUnavailable: With `fallback="raise"` only.

    Example:
        >>> enqueue_many("create_report", [{"report": "attendance_daily"}])  # doctest: +SKIP
    """
    from k9ops.actors import broker
    from k9ops.broker.batches import enqueue_runs
    from k9ops.broker.jobs import find_actor
    from k9ops.db.engine import get_engine

    name = actor if isinstance(actor, str) else actor.actor_name
    return enqueue_runs(
        get_engine(),
        broker,
        find_actor(broker, name),
        params,
        requested_by=requested_by,
        delay_s=delay_s,
        connection=connection,
        fallback=fallback,
    )
