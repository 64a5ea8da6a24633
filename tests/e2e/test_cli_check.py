from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from tests.e2e.conftest import Command


def find_states(command: Command, *, code: int) -> dict[str, str]:
    checks = command.json("check", "--timeout", "15" if code == 0 else "0.5", code=code)["checks"]
    return {finding["name"]: finding["status"] for finding in checks}


@contextmanager
def redis_option(url: str, name: str, value: str) -> Iterator[None]:
    with redis.Redis.from_url(url) as client:
        before = client.config_get(name)[name]
        client.config_set(name, value)
        try:
            yield
        finally:
            client.config_set(name, before)


def test_check_passes_on_a_seeded_database(empty_k9ops: Command) -> None:
    empty_k9ops("db", "upgrade")
    empty_k9ops("db", "seed")
    empty_k9ops("backup", "create")
    with empty_k9ops.worker(), empty_k9ops.scheduler():
        assert set(find_states(empty_k9ops, code=0).values()) == {"ok"}
        text = empty_k9ops("check").stdout
    assert "ok   application         The application's tables are of generation B." in text
    assert "The worker's machine" in text


def test_check_fails_without_tables_and_worker(empty_k9ops: Command) -> None:
    states = find_states(empty_k9ops, code=1)
    assert {name for name, state in states.items() if state == "fail"} == {
        "migrations",
        "application",
        "scheduler",
        "queues",
    }


def test_check_cancels_a_canary_that_nobody_takes(k9ops: Command) -> None:
    done = k9ops("check", "--timeout", "0.2", code=1)
    assert "No worker took a canary within 0.2 s." in done.stdout
    assert "`k9ops up` for everything" in done.stdout
    assert [run["state"] for run in k9ops.json("runs", "list")["runs"]] == ["cancelled"] * 5


def test_check_fails_when_redis_may_evict(k9ops: Command, redis_url: str) -> None:
    with redis_option(redis_url, "maxmemory-policy", "allkeys-lru"):
        assert find_states(k9ops, code=1)["eviction"] == "fail"


def test_check_warns_when_redis_keeps_nothing(k9ops: Command, redis_url: str) -> None:
    with redis_option(redis_url, "appendonly", "no"):
        assert find_states(k9ops, code=1)["persistence"] == "warn"


def test_check_fails_when_redis_is_nearly_full(k9ops: Command, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        used = client.info("memory")["used_memory"]
    with redis_option(redis_url, "maxmemory", str(int(used * 1.05))):
        assert find_states(k9ops, code=1)["memory"] == "fail"


def test_check_warns_when_others_use_the_brokers_database(k9ops: Command, redis_url: str) -> None:
    with redis.Redis.from_url(f"{redis_url}/1") as client:
        client.set("session:7", "x")
    assert find_states(k9ops, code=1)["own database"] == "warn"


def test_check_warns_when_the_broker_shares_a_database(k9ops: Command, redis_url: str) -> None:
    k9ops.environment["K9OPS_BROKER_URL"] = f"{redis_url}/2"
    assert find_states(k9ops, code=1)["own database"] == "warn"
    k9ops.environment["K9OPS_BROKER_URL"] = f"{redis_url}/0"
    assert find_states(k9ops, code=1)["own database"] == "warn"


def test_check_looks_at_the_backup_folder(k9ops: Command) -> None:
    folder = k9ops.folder / "backups"
    folder.mkdir(mode=0o755)
    checks = k9ops.json("check", "--timeout", "0", code=1)["checks"]
    finding = next(item for item in checks if item["name"] == "backup folder")
    assert (finding["status"], finding["advice"]) == ("warn", f"chmod 700 {folder}")
    k9ops.environment["K9OPS_BACKUP_MIN_FREE_BYTES"] = str(10**15)
    checks = k9ops.json("check", "--timeout", "0", code=1)["checks"]
    assert [item["status"] for item in checks if item["name"] == "backup folder"] == ["warn", "fail"]


def test_check_warns_of_a_damaged_backup(k9ops: Command) -> None:
    k9ops("backup", "create")
    next((k9ops.folder / "backups").glob("*.dump")).unlink()
    checks = k9ops.json("check", "--timeout", "0", code=1)["checks"]
    messages = [item["message"] for item in checks if item["name"] == "last backup"]
    assert any("The archive is missing." in message for message in messages)
    assert "There is no backup yet." in messages
