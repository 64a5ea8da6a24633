"""Checks of Redis as the broker: reachable, keeps what it is given, and has a database for the messages alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from k9ops.broker.build import build_redis_client
from k9ops.broker.problems import broker_unavailable
from k9ops.cli.checks.finding import Finding
from k9ops.cli.output import format_bytes
from k9ops.config.settings import Settings

_CACHE_DATABASE = 0
_OWN_PREFIX = b"dramatiq:"
_SCANNED_KEYS = 10_000
_HEADROOM_WARN = 0.75
_HEADROOM_FAIL = 0.9


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Check the broker's Redis.

    Raises:
        BrokerUnavailable: It does not answer.
    """
    client = build_redis_client(settings.effective_broker_url, settings, socket_timeout_s=settings.connect_timeout_s)
    try:
        info: dict[str, Any] = client.info()
        yield Finding("redis", "ok", _describe_server(client, info))
        yield check_persistence(info, saves=_read_option(client, "save"))
        yield check_memory_policy(str(info.get("maxmemory_policy", "")))
        yield check_headroom(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))
        yield _check_own_database(settings, client)
    except (redis.RedisError, OSError) as exc:
        raise broker_unavailable(exc, f"Redis is not available: {_shorten(exc)}.") from exc
    finally:
        client.close()


def check_persistence(info: dict[str, Any], *, saves: str | None) -> Finding:
    """Judge whether messages outlive Redis.

    Args:
        info: Redis' INFO.
        saves: Its option `save`; None when it may not be read.
    """
    name = "persistence"
    for key, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(key, "ok") != "ok":
            found = f"Redis could not write its last {what}."
            return Finding(name, "fail", found, "Look at its log and disk; it may refuse messages.")
    if info.get("aof_enabled"):
        return Finding(name, "ok", "The append-only file is on.")
    advice = "Set `appendonly yes` in redis.conf. Until then the ledger sends lost messages again, late."
    if saves == "":
        return Finding(name, "warn", "Redis keeps nothing on disk.", advice)
    return Finding(name, "warn", "Redis writes snapshots only: a crash loses the messages since the last one.", advice)


def check_memory_policy(policy: str) -> Finding:
    """Judge `maxmemory-policy`: any other than noeviction may drop messages."""
    if policy == "noeviction":
        return Finding("eviction", "ok", "maxmemory-policy is noeviction.")
    found = f"maxmemory-policy is {policy or 'unknown'}: Redis may throw messages away."
    return Finding("eviction", "fail", found, "Set `maxmemory-policy noeviction` in redis.conf.")


def check_headroom(used_bytes: int, limit_bytes: int) -> Finding:
    """Judge how near Redis is to `maxmemory`, where workers come to a stop; 0 is no limit."""
    if not limit_bytes:
        return Finding("memory", "ok", f"{format_bytes(used_bytes)} used, no maxmemory set.")
    found = f"{format_bytes(used_bytes)} of {format_bytes(limit_bytes)} used."
    if used_bytes >= limit_bytes * _HEADROOM_FAIL:
        return Finding(
            "memory", "fail", found, "Raise maxmemory, or remove what fills it: full, it stops every worker."
        )
    if used_bytes >= limit_bytes * _HEADROOM_WARN:
        return Finding("memory", "warn", found, "Raise maxmemory, or remove what fills it.")
    return Finding("memory", "ok", found)


def _check_own_database(settings: Settings, client: redis.Redis) -> Finding:
    name, place = "own database", _place(settings.effective_broker_url)
    if place == _place(settings.effective_result_url):
        advice = "Give K9OPS_BROKER_URL and K9OPS_RESULT_URL databases of their own, e.g. /1 and /2."
        return Finding(name, "warn", f"Messages and results share database {place[-1]}.", advice)
    if place == _place(settings.redis_url_of(_CACHE_DATABASE)):
        advice = "End K9OPS_BROKER_URL with another number, e.g. /1."
        return Finding(name, "warn", "Messages share database 0 with the application's cache.", advice)
    foreign = _find_foreign_key(client)
    if foreign is not None:
        advice = "Dramatiq's maintenance looks at every key of its database: move the others away."
        return Finding(name, "warn", f"Database {place[-1]} also has keys of others, e.g. {foreign!r}.", advice)
    return Finding(name, "ok", f"Database {place[-1]} has messages only.")


def _place(url: str) -> tuple[str, int, int]:
    options = redis.ConnectionPool.from_url(url).connection_kwargs
    host = options.get("path") or options.get("host", "localhost")
    return str(host), int(options.get("port", 6379)), int(options.get("db", 0))


def _find_foreign_key(client: redis.Redis) -> str | None:
    for position, key in enumerate(client.scan_iter(count=1000)):
        if not key.startswith(_OWN_PREFIX):
            return str(key.decode(errors="replace"))
        if position >= _SCANNED_KEYS:
            break
    return None


def _read_option(client: redis.Redis, option: str) -> str | None:
    try:
        found: dict[str | None, str | None] = client.config_get(option)
    except redis.ResponseError:
        return None
    return found.get(option)


def _describe_server(client: redis.Redis, info: dict[str, Any]) -> str:
    kwargs = client.connection_pool.connection_kwargs
    kind = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")
    return f"{kind} {version} on {kwargs.get('path') or kwargs.get('host')}."


def _shorten(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
