"""A Redis that refuses: what a person is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from tests.certificates import Authority
from tests.tls_redis import TlsRedis

from k9ops.broker.build import build_redis_client
from k9ops.broker.problems import broker_unavailable
from k9ops.config.settings import Settings, load_settings
from k9ops.embedded.valkey import ValkeyServer
from k9ops.errors import SettingsInvalid

USERS = "user k9ops on >right ~* +@all -time\nuser default off\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "files")


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    with TlsRedis(tmp_path_factory.mktemp("redis") / "plain", authority, users=USERS) as server:
        yield server


def told(url: str, ca_file: Path | str = "", timeout_s: int = 30) -> str:
    """Return what a person is told when this Redis is asked for the time."""
    settings: Settings = load_settings(
        {"REDIS_URL": url, "K9OPS_REDIS_CA_FILE": str(ca_file), "K9OPS_CONNECT_TIMEOUT_S": str(timeout_s)}
    ).settings
    client = build_redis_client(settings.effective_broker_url, settings, socket_timeout_s=timeout_s)
    with client, pytest.raises(redis.RedisError) as caught:
        client.time()
    message = broker_unavailable(caught.value, "Redis does not answer.").user_message
    assert "right" not in message
    assert "wrong" not in message
    return message


def test_refused_password_is_told_from_an_absent_server(server: TlsRedis, authority: Authority) -> None:
    url = f"rediss://k9ops:wrong@127.0.0.1:{server.port}"
    assert told(url, authority.ca_file) == (
        "Redis refuses the user name or password: correct REDIS_URL and those that override it."
    )
    assert told(url.replace("k9ops:wrong@", ""), authority.ca_file).startswith("Redis refuses the user name")
    assert told("redis://127.0.0.1:1") == "Redis does not answer."


def test_command_that_the_acl_forbids_is_told(server: TlsRedis, authority: Authority) -> None:
    message = told(f"rediss://k9ops:right@127.0.0.1:{server.port}", authority.ca_file)
    assert message.startswith("Redis does not allow its user what k9ops needs")


def test_certificate_of_a_stranger_is_told(server: TlsRedis, tmp_path: Path) -> None:
    url = f"rediss://k9ops:right@127.0.0.1:{server.port}"
    for ca_file in ("", Authority(tmp_path / "stranger").ca_file):
        message = told(url, ca_file)
        assert message.startswith("Redis' certificate is not trusted")
        assert "K9OPS_REDIS_CA_FILE" in message


def test_certificate_for_another_host_is_told(server: TlsRedis, authority: Authority) -> None:
    message = told(f"rediss://k9ops:right@localhost:{server.port}", authority.ca_file)
    assert message.startswith("Redis' certificate is for another host")


def test_certificate_that_is_over_is_told(authority: Authority, tmp_path: Path) -> None:
    over = datetime.now(UTC) - timedelta(days=1)
    with TlsRedis(tmp_path / "over", authority, users=USERS, until=over) as old:
        message = told(f"rediss://k9ops:right@127.0.0.1:{old.port}", authority.ca_file)
    assert message.startswith("Redis' certificate is out of date")


def test_client_certificate_stands_in_the_url(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("client")
    with TlsRedis(tmp_path / "strict", authority, users=USERS, asks_clients=True) as strict:
        url = f"rediss://k9ops:right@127.0.0.1:{strict.port}"
        assert "client certificate" in told(url, authority.ca_file)
        with_certificate = f"{url}?ssl_certfile={certificate}&ssl_keyfile={key}"
        assert told(with_certificate, authority.ca_file).startswith("Redis does not allow its user")


def test_plain_server_is_told_when_tls_is_asked_of_it(valkey_server: ValkeyServer, authority: Authority) -> None:
    message = told(valkey_server.url.replace("redis://", "rediss://"), authority.ca_file, timeout_s=1)
    assert message.startswith("Redis does not speak TLS on this port")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_file_without_a_certificate_stops_the_start(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = load_settings({"REDIS_URL": "rediss://h", "K9OPS_REDIS_CA_FILE": str(file)}).settings
    with pytest.raises(SettingsInvalid, match=r"K9OPS_REDIS_CA_FILE = .*must be a file of certificates"):
        build_redis_client(settings.effective_broker_url, settings, socket_timeout_s=1)
