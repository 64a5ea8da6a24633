from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from k9ops.cli.config import describe_settings, mask_value
from k9ops.config.settings import load_settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://k9:pa%3Ass@db:5432/k9?sslmode=require", "postgresql://k9:***@db:5432/k9?sslmode=require"),
        ("postgresql://db/k9?password=hunter2", "postgresql://db/k9?password=%2A%2A%2A"),
        ("redis://:hunter2@cache:6379/1", "redis://:***@cache:6379/1"),
        ("not a url hunter2", "***"),
        ("", ""),
    ],
)
def test_mask_value_hides_the_password_alone(text: str, shown: str) -> None:
    assert mask_value(SecretStr(text), is_secret=True) == shown


def test_describe_settings_tells_value_origin_and_unit(tmp_path: Path) -> None:
    loaded = load_settings({"CELERY_TIMEZONE": "UTC", "K9OPS_LEASE_S": "9"}, env_file=tmp_path / ".env")
    rows = {row["variable"]: row for row in describe_settings(loaded)}
    assert (rows["K9OPS_TIMEZONE"]["value"], rows["K9OPS_TIMEZONE"]["origin"]) == (
        "UTC",
        "environment, CELERY_TIMEZONE",
    )
    assert (rows["K9OPS_LEASE_S"]["value"], rows["K9OPS_LEASE_S"]["unit"]) == ("9", "s")
    assert rows["K9OPS_POOL_SIZE"]["origin"] == "default"
    assert rows["K9OPS_PG_BIN_DIR"]["value"] == ""
