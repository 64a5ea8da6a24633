"""The faults of a storm. Each is over when its function returns, but what it has broken stays broken."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import dramatiq
import psycopg
from dramatiq.brokers.redis import RedisBroker
from tests.chaos.proxy import Proxy
from tests.chaos.storm import LEASE_S, Storm
from tests.chaos.storm_effects import QUEUE
from tests.chaos.storm_messages import send_as_older_releases, wait_for_success
from tests.processes import wait_for

from k9ops.broker.plain_sending import RECORDED_OPTION

_PAUSED_S = 2.5  # longer than a socket's time-out, which is 1 s in a storm
_SHORT_S = 1.5
_LOSS_S = 20
_MINUTE_S = 60
_DAY_S = 86_400
_BUSY_JOBS, _BUSY_STEPS = 8, 20
_SENT_BY_OLDER = 5


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        kind: Faults of one kind never happen at the same time, and `alone` ones beside no other.
        happen: Does it.
    """

    kind: str
    happen: Callable[[Storm, random.Random], None]


FAULTS: dict[str, Fault] = {}


def _fault(kind: str) -> Callable[[Callable[[Storm, random.Random], None]], Callable[[Storm, random.Random], None]]:
    def register(function: Callable[[Storm, random.Random], None]) -> Callable[[Storm, random.Random], None]:
        FAULTS[function.__name__.lstrip("_").replace("_", " ")] = Fault(kind, function)
        return function

    return register


def _last(seconds: float) -> None:
    threading.Event().wait(seconds)


@_fault("processes")
def _worker_killed(storm: Storm, chance: random.Random) -> None:
    chance.choice(storm.workers).send(signal.SIGKILL)


@_fault("processes")
def _process_of_a_worker_killed(storm: Storm, chance: random.Random) -> None:
    for pid in chance.choice(storm.workers).children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@_fault("processes")
def _both_workers_killed(storm: Storm, chance: random.Random) -> None:
    for worker in storm.workers:
        worker.send(signal.SIGKILL)


@_fault("processes")
def _scheduler_killed(storm: Storm, chance: random.Random) -> None:
    storm.fleet.members["scheduler"].send(signal.SIGKILL)


@_fault("processes")
def _producer_killed(storm: Storm, chance: random.Random) -> None:
    storm.fleet.members["producer"].send(signal.SIGKILL)


@_fault("processes")
def _worker_asked_to_end(storm: Storm, chance: random.Random) -> None:
    _keep_busy(storm)
    worker = chance.choice(storm.workers)
    starts = worker.starts
    worker.ask_to_end()
    wait_for(lambda: worker.starts > starts, deadline_s=120)


@_fault("processes")
def _everything_asked_to_end(storm: Storm, chance: random.Random) -> None:
    _keep_busy(storm)
    before = {name: member.starts for name, member in storm.fleet.members.items()}
    for member in storm.fleet.members.values():
        member.ask_to_end()
    wait_for(lambda: all(storm.fleet.members[name].starts > starts for name, starts in before.items()), 120)


@_fault("processes")
def _worker_stopped_past_its_lease(storm: Storm, chance: random.Random) -> None:
    _keep_busy(storm)
    worker = chance.choice(storm.workers)
    worker.send(signal.SIGSTOP)
    _last(LEASE_S * 2)
    worker.send(signal.SIGCONT)


@_fault("processes")
def _job_that_kills_its_worker(storm: Storm, chance: random.Random) -> None:
    storm.ask_for("kill_worker", {"number": 0})


@_fault("redis")
def _redis_killed(storm: Storm, chance: random.Random) -> None:
    storm.redis.kill()
    _last(chance.uniform(0, _SHORT_S))
    storm.redis.start()


@_fault("redis")
def _redis_lost_its_data(storm: Storm, chance: random.Random) -> None:
    storm.redis.kill()
    storm.redis.forget()
    storm.redis.start()


@_fault("redis")
def _redis_stopped(storm: Storm, chance: random.Random) -> None:
    storm.redis.send_signal(signal.SIGSTOP)
    _last(_PAUSED_S)
    storm.redis.send_signal(signal.SIGCONT)


@_fault("redis")
def _redis_stopped_for_a_minute(storm: Storm, chance: random.Random) -> None:
    storm.redis.send_signal(signal.SIGSTOP)
    _last(_MINUTE_S)
    storm.redis.send_signal(signal.SIGCONT)


@_fault("redis")
def _redis_paused(storm: Storm, chance: random.Random) -> None:
    storm.redis.ask("CLIENT", "PAUSE", int(_PAUSED_S * 1000), "ALL")
    _last(_PAUSED_S)


@_fault("redis")
def _redis_full(storm: Storm, chance: random.Random) -> None:
    storm.redis.ask("CONFIG", "SET", "maxmemory", "1")
    _last(_SHORT_S)
    storm.redis.ask("CONFIG", "SET", "maxmemory", "0")


@_fault("redis")
def _redis_read_only(storm: Storm, chance: random.Random) -> None:
    storm.redis.ask("REPLICAOF", "127.0.0.1", "1")
    _last(_SHORT_S)
    storm.redis.ask("REPLICAOF", "NO", "ONE")


@_fault("redis")
def _messages_of_running_jobs_delivered_again(storm: Storm, chance: random.Random) -> None:
    _send_as_others(storm, _keep_busy(storm), "count_slowly", {"steps": _BUSY_STEPS}, {RECORDED_OPTION: True})


@_fault("postgres")
def _postgres_restarted(storm: Storm, chance: random.Random) -> None:
    storm.restart_postgres(signal.SIGINT)


@_fault("postgres")
def _postgres_crashed(storm: Storm, chance: random.Random) -> None:
    storm.restart_postgres(signal.SIGQUIT)


@_fault("postgres")
def _sessions_terminated(storm: Storm, chance: random.Random) -> None:
    storm.postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'k9ops%'")


@_fault("postgres")
def _too_many_connections(storm: Storm, chance: random.Random) -> None:
    _sessions_terminated(storm, chance)
    with ExitStack() as taken:
        with suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(storm.postgres.url))
        _last(_SHORT_S)


@_fault("postgres")
def _postgres_read_only(storm: Storm, chance: random.Random) -> None:
    storm.postgres.ask("ALTER SYSTEM SET default_transaction_read_only = on")
    storm.postgres.ask("SELECT pg_reload_conf()")
    _last(_SHORT_S)
    storm.postgres.ask("ALTER SYSTEM RESET default_transaction_read_only")
    storm.postgres.ask("SELECT pg_reload_conf()")


@_fault("postgres")
def _clock_jumped_over_the_leases(storm: Storm, chance: random.Random) -> None:
    storm.postgres.ask("INSERT INTO storm.jump VALUES (now())")
    storm.postgres.ask(
        "UPDATE k9ops.run SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE state = 'running'"
    )


@_fault("network")
def _connections_to_redis_cut(storm: Storm, chance: random.Random) -> None:
    for proxy in storm.redis_proxies:
        proxy.cut()


@_fault("network")
def _connections_to_postgres_cut(storm: Storm, chance: random.Random) -> None:
    for proxy in storm.postgres_proxies:
        proxy.cut()


@_fault("network")
def _half_of_the_processes_cut_off(storm: Storm, chance: random.Random) -> None:
    half = chance.randrange(2)
    proxies = (storm.redis_proxies[half], storm.postgres_proxies[half])
    for proxy in proxies:
        proxy.is_refusing = True
        proxy.cut()
    _last(_PAUSED_S * 2)
    for proxy in proxies:
        proxy.is_refusing = False


@_fault("network")
def _reply_of_a_fetch_lost(storm: Storm, chance: random.Random) -> None:
    _lose_replies(storm.redis_proxies, b"\r\nfetch\r\n")


@_fault("network")
def _reply_of_an_enqueue_lost(storm: Storm, chance: random.Random) -> None:
    _lose_replies(storm.redis_proxies, b"\r\nHSET\r\n")


@_fault("network")
def _reply_of_postgres_lost(storm: Storm, chance: random.Random) -> None:
    _lose_replies(storm.postgres_proxies, b"")


@_fault("network")
def _network_slow(storm: Storm, chance: random.Random) -> None:
    proxies = [*storm.redis_proxies, *storm.postgres_proxies]
    for proxy in proxies:
        proxy.delay_s = 0.1
    _last(_PAUSED_S)
    for proxy in proxies:
        proxy.delay_s = 0.0


@_fault("disk")
def _disk_full(storm: Storm, chance: random.Random) -> None:
    with storm.disk.full():
        _last(chance.uniform(2, 10))


@_fault("clock")
def _clock_of_a_worker_jumps(storm: Storm, chance: random.Random) -> None:
    storm.clock.jump(chance.uniform(-_DAY_S, _DAY_S))
    _last(chance.uniform(2, 10))
    storm.clock.jump(0)


@_fault("alone")
def _messages_of_older_releases(storm: Storm, chance: random.Random) -> None:
    wait_for_success(storm, send_as_older_releases(storm, _SENT_BY_OLDER))


@_fault("alone")
def _rolling_restart_with_messages_of_older_releases(storm: Storm, chance: random.Random) -> None:
    ids = []
    for worker in storm.workers:
        ids += send_as_older_releases(storm, _SENT_BY_OLDER)
        starts = worker.starts
        worker.ask_to_end()
        wait_for(lambda worker=worker, starts=starts: worker.starts > starts, deadline_s=120)  # type: ignore[misc]
        ids += send_as_older_releases(storm, _SENT_BY_OLDER)
    wait_for_success(storm, ids)


def _keep_busy(storm: Storm) -> list[uuid.UUID]:
    """Ask for jobs that take longer than others, and return when some of them run, or cannot."""
    ids = [storm.ask_for("count_slowly", {"steps": _BUSY_STEPS}) for _ in range(_BUSY_JOBS)]
    query = "SELECT count(*) FROM k9ops.run WHERE id = ANY(%s) AND state <> 'queued'"
    with suppress(AssertionError):  # both workers may be away
        wait_for(lambda: storm.postgres.ask(query, [ids])[0][0] >= _BUSY_JOBS // 2, deadline_s=_LOSS_S)
    return ids


def _send_as_others(
    storm: Storm, ids: list[uuid.UUID], job: str, params: dict[str, object], options: dict[str, object]
) -> None:
    """Send messages by Dramatiq's own broker."""
    broker = RedisBroker(url=f"redis://127.0.0.1:{storm.redis.port}/1", middleware=[])
    try:
        for run_id in ids:
            broker.enqueue(
                dramatiq.Message(
                    queue_name=QUEUE,
                    actor_name=job,
                    args=(),
                    kwargs=params,
                    options=dict(options),
                    message_id=str(run_id),
                )
            )
    finally:
        broker.client.close()


def _lose_replies(proxies: list[Proxy], marker: bytes) -> None:
    for proxy in proxies:
        before = proxy.lost_replies
        proxy.lose_replies(marker, 2)
        with suppress(AssertionError):  # nothing of the kind may be asked while something else is broken
            wait_for(partial(_has_lost, proxy, before), deadline_s=_LOSS_S)
        proxy.lose_replies(b"", 0)


def _has_lost(proxy: Proxy, before: int) -> bool:
    return proxy.lost_replies > before
