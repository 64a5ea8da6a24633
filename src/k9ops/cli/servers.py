"""The embedded servers behind `k9ops up` and `k9ops demo`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from k9ops.config.settings import LoadedSettings, Settings
from k9ops.config.sources import DEFAULT_ORIGIN, variable_names
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer

DATABASE_NAME = "k9"

EmbeddedServer = PostgresServer | ValkeyServer


def needs_postgres(loaded: LoadedSettings) -> bool:
    """Tell whether no database was named."""
    return loaded.origins["database_url"] == DEFAULT_ORIGIN


def needs_redis(loaded: LoadedSettings) -> bool:
    """Tell whether a Redis is used that was not named."""
    if loaded.settings.is_rabbitmq:
        return False
    urls = {loaded.origins["broker_url"], loaded.origins["result_url"]}
    return loaded.origins["redis_url"] == DEFAULT_ORIGIN and DEFAULT_ORIGIN in urls


def make_postgres(folder: Path) -> PostgresServer:
    """Return a PostgreSQL with its data in a folder, not yet started."""
    return PostgresServer(folder / "postgres", bin_dir=wheel_bin_dir(), database=DATABASE_NAME)


def make_valkey(folder: Path) -> ValkeyServer:
    """Return a Valkey with its data in a folder, not yet started."""
    return ValkeyServer(folder / "valkey")


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which k9ops has only its defaults."""
    names = {name for field in Settings.model_fields.values() for name in variable_names(field)}
    names |= {f"{name}_FILE" for name in names}
    return {name: value for name, value in environment.items() if name not in names}
