from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k9ops.cli.check import judge_unknown
from k9ops.cli.checks.broker import check_headroom, check_memory_policy, check_persistence
from k9ops.cli.checks.finding import Finding, run_check
from k9ops.config.settings import load_settings
from k9ops.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    ("info", "saves", "status"),
    [
        ({"aof_enabled": 1, "aof_last_write_status": "ok"}, "", "ok"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "", "fail"),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "err"}, "3600 1", "fail"),
        ({"aof_enabled": 0}, "3600 1", "warn"),
        ({"aof_enabled": 0}, "", "warn"),
        ({"aof_enabled": 0}, None, "warn"),
    ],
)
def test_check_persistence_wants_the_append_only_file(info: dict[str, Any], saves: str | None, status: str) -> None:
    assert check_persistence(info, saves=saves).status == status


@pytest.mark.parametrize(("policy", "status"), [("noeviction", "ok"), ("allkeys-lru", "fail"), ("", "fail")])
def test_check_memory_policy_wants_noeviction(policy: str, status: str) -> None:
    assert check_memory_policy(policy).status == status


@pytest.mark.parametrize(
    ("used", "limit", "status"), [(10, 0, "ok"), (74, 100, "ok"), (75, 100, "warn"), (90, 100, "fail")]
)
def test_check_headroom_speaks_before_redis_is_full(used: int, limit: int, status: str) -> None:
    assert check_headroom(used, limit).status == status


def test_a_variable_that_is_misspelt_is_found() -> None:
    variables = {"K9OPS_LEASES_S": "3", "K9OPS_LEASE_S": "30", "HOME": "/", "K9OPS_BACKUP_IDENTITY_FILE": ""}
    loaded = load_settings(variables, env_file=Path("none"))
    finding = judge_unknown(loaded.unknown)
    assert loaded.unknown == ("K9OPS_LEASES_S",)
    assert (finding.status, "K9OPS_LEASES_S" in finding.message) == ("warn", True)
    assert judge_unknown(load_settings({"K9OPS_SMTP_URL_FILE": ""}, env_file=Path("none")).unknown).status == "ok"


def test_run_check_turns_an_error_into_a_finding() -> None:
    def check() -> Iterator[Finding]:
        raise DatabaseUnavailable("PostgreSQL is not available.")
        yield

    (finding,) = run_check("database", check)
    assert (finding.name, finding.status) == ("database", "fail")
    assert "DATABASE_URL" in finding.advice
