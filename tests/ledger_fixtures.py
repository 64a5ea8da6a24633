"""A ledger in a database of its own, and a broker on a Redis of its own, for each test."""

from __future__ import annotations

from collections.abc import Iterator

import dramatiq
import pytest
from sqlalchemy import Engine

from k9ops.broker.build import K9opsRedisBroker, build_broker
from k9ops.config.settings import Settings, get_loaded_settings, get_settings
from k9ops.db.engine import dispose_engine, get_engine
from k9ops.db.migrate import upgrade


@pytest.fixture
def settings(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[Settings]:
    """The process's settings, for a fresh database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("K9OPS_BACKUP_DIR", f"{tmp_path}/backups")
    monkeypatch.setenv("K9OPS_REPORTS_DIR", f"{tmp_path}/reports")
    monkeypatch.setenv("K9OPS_RELAY_INTERVAL_S", "0.05")
    monkeypatch.setenv("K9OPS_LEASE_S", "3")
    monkeypatch.setenv("K9OPS_RESEND_AFTER_S", "1")
    monkeypatch.setenv("K9OPS_WATCH_INTERVAL_S", "0")
    monkeypatch.setenv("K9OPS_SEND_TIMEOUT_S", "30")
    monkeypatch.setenv("K9OPS_WORKER_MEMORY_MB", "1000000")  # a worker in this process has the tests' memory too
    get_loaded_settings.cache_clear()
    yield get_settings()
    dispose_engine()
    get_loaded_settings.cache_clear()


@pytest.fixture
def engine(settings: Settings) -> Engine:
    """The process's engine, on a database that has k9ops' tables."""
    upgrade(get_engine())
    return get_engine()


@pytest.fixture
def no_resend(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker send a second message of a run that waits for long, as on a slow machine."""
    monkeypatch.setenv("K9OPS_RESEND_AFTER_S", "3600")
    get_loaded_settings.cache_clear()


@pytest.fixture
def broker(engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[K9opsRedisBroker]:
    """A broker on an empty Redis, with every middleware of the product."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    get_loaded_settings.cache_clear()
    broker = build_broker(get_settings())
    previous = dramatiq.broker.global_broker
    dramatiq.set_broker(broker)
    yield broker
    dramatiq.set_broker(previous)
    broker.breaker.close()
    broker.client.close()
    broker.get_results_backend().client.close()
