from __future__ import annotations

from pathlib import Path

import pytest
import redis

from k9ops.embedded.valkey import ValkeyServer


def test_valkey_asks_for_its_password(valkey_server: ValkeyServer) -> None:
    without = f"redis://{valkey_server.url.partition('@')[2]}"
    with redis.Redis.from_url(without) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_valkey_keeps_its_password_from_other_users(valkey_server: ValkeyServer, server_folder: Path) -> None:
    config = server_folder / "valkey" / "valkey.conf"
    password = valkey_server.url.split(":")[2].partition("@")[0]
    assert password in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600
    assert password not in Path(f"/proc/{valkey_server.pid}/cmdline").read_text()


def test_valkey_evicts_nothing_and_writes_what_it_is_told(valkey_server: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey_server.url, decode_responses=True) as client:
        names = ("maxmemory-policy", "appendonly", "appendfsync", "databases")
        assert client.config_get(*names) == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "databases": "16",
        }
