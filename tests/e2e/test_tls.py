"""Redis and PostgreSQL behind TLS, and a Redis user that may do no more than k9ops needs."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.certificates import Authority
from tests.conftest import older_bin_dir
from tests.e2e.conftest import Command, wait_for
from tests.processes import ROOT
from tests.tls_redis import TlsRedis

from k9ops.embedded.places import unprivileged_account
from k9ops.embedded.postgres import PostgresServer
from k9ops.embedded.process import find_free_port

PASSWORD = secrets.token_hex(16)
ADMIN = secrets.token_hex(16)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "files")


@pytest.fixture(scope="module")
def tls_redis(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    """A Redis with the users of the manual, and one who may look at what was refused."""
    rules = (ROOT / "packaging/redis/k9ops.acl").read_text(encoding="ascii")
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    users = f"{rules.replace('PASSWORD_SHA256', digest)}user admin on >{ADMIN} ~* +@all\nuser default off\n"
    with TlsRedis(tmp_path_factory.mktemp("redis") / "one", authority, users=users) as server:
        yield server


@pytest.fixture(scope="module")
def tls_database_url(authority: Authority, server_folder: Path) -> Iterator[str]:
    """An older PostgreSQL with a certificate: the newest one's wheel is built without TLS."""
    certificate, key = authority.issue("postgres")
    account = unprivileged_account()
    for file in (certificate, key):
        kept = Path(shutil.copy(file, server_folder / file.name))
        kept.chmod(0o600)
        os.chown(kept, account.uid, account.gid)
    options = {
        "ssl": "on",
        "ssl_cert_file": str(server_folder / certificate.name),
        "ssl_key_file": str(server_folder / key.name),
        "fsync": "off",
    }
    with PostgresServer(server_folder / "tls", bin_dir=older_bin_dir(), options=options) as server:
        yield server.url


@pytest.fixture
def secured(k9ops: Command, tls_redis: TlsRedis, authority: Authority) -> Command:
    k9ops.environment["REDIS_URL"] = f"rediss://k9ops:{PASSWORD}@127.0.0.1:{tls_redis.port}"
    k9ops.environment["K9OPS_REDIS_CA_FILE"] = str(authority.ca_file)
    return k9ops


def test_worker_command_and_dashboard_need_no_more_than_the_acl_of_the_manual(
    secured: Command, tls_redis: TlsRedis, authority: Authority
) -> None:
    admin = redis.Redis.from_url(
        f"rediss://admin:{ADMIN}@127.0.0.1:{tls_redis.port}", ssl_ca_certs=str(authority.ca_file)
    )
    with admin, secured.worker():
        checks = {item["name"]: item for item in secured.json("check", "--timeout", "60", code=1)["checks"]}
        queues = {item["queue"]: item for item in secured.json("inspect", "queues")["queues"]}
        secured("inspect", "dead")
        port = find_free_port()
        with secured.started("web", K9OPS_WEB_PORT=str(port)):
            wait_for(lambda: is_ready(port))
        refused = {(item["reason"], item["context"], item["object"]) for item in admin.acl_log()}
    assert refused == set()
    assert not {"redis", "own database", "clocks"} & {name for name in checks if checks[name]["status"] == "fail"}
    assert all(checks[f"queue {queue}"]["status"] == "ok" for queue in queues)
    assert PASSWORD not in secured.log("worker") + secured.output()


def test_command_says_what_to_do_when_the_password_of_redis_is_refused(secured: Command, tls_redis: TlsRedis) -> None:
    wrong = f"rediss://k9ops:{ADMIN}@127.0.0.1:{tls_redis.port}"
    done = secured("inspect", "queues", code=3, REDIS_URL=wrong)
    assert "Redis refuses the user name or password: correct REDIS_URL" in done.stderr
    assert ADMIN not in done.stdout + done.stderr


def test_backup_is_made_and_verified_over_tls(
    k9ops: Command, tls_database_url: str, authority: Authority, tmp_path: Path
) -> None:
    url = f"{tls_database_url}?sslmode=verify-full&sslrootcert={authority.ca_file}"
    k9ops.environment["DATABASE_URL"] = url
    k9ops("db", "upgrade")
    k9ops("backup", "create")
    (backup,) = k9ops.json("backup", "list")["backups"]
    assert backup["state"]["verification"]["state"] == "verified"
    stranger = Authority(tmp_path / "stranger").ca_file
    done = k9ops("runs", "list", code=3, DATABASE_URL=f"{tls_database_url}?sslmode=verify-full&sslrootcert={stranger}")
    assert "certificate verify failed. Name the certificate of its authority in DATABASE_URL" in done.stderr


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
