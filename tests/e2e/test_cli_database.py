from __future__ import annotations

import pytest
from tests.e2e.conftest import Command


def test_db_upgrade_check_and_current_agree(empty_k9ops: Command) -> None:
    assert empty_k9ops.json("db", "check", code=1)["is_current"] is False
    assert "There are no tables of k9ops yet" in empty_k9ops("db", "current").stdout
    first, second = empty_k9ops.json("db", "upgrade"), empty_k9ops.json("db", "upgrade")
    assert (first["before"], second["before"]) == (None, first["after"])
    assert empty_k9ops("db", "current").stdout.strip() == first["after"]
    assert "newest revision" in empty_k9ops("db", "check").stdout
    assert "already" in empty_k9ops("db", "upgrade").stdout


@pytest.mark.parametrize("generation", ["A", "B"])
def test_db_seed_refuses_a_database_in_use_unless_forced(empty_k9ops: Command, generation: str) -> None:
    rows = empty_k9ops.json("db", "seed", "--generation", generation)["rows"]
    assert rows["notification"] > 5000
    done = empty_k9ops("db", "seed", "--generation", generation, code=2)
    assert "K9 users already" in done.stderr
    assert "notification" in empty_k9ops("db", "seed", "--generation", generation, "--force").stdout


def test_config_show_masks_secrets_and_names_origins(empty_k9ops: Command, database_url: str) -> None:
    password = database_url.split(":")[2].split("@")[0]
    (empty_k9ops.folder / ".env").write_text("K9OPS_LEASE_S=20\n", encoding="utf-8")
    done = empty_k9ops("config", "show")
    assert password not in done.stdout
    rows = {row["variable"]: row for row in empty_k9ops.json("config", "show")["settings"]}
    assert (rows["K9OPS_LEASE_S"]["value"], rows["K9OPS_LEASE_S"]["origin"]) == ("20", ".env")
    assert rows["DATABASE_URL"]["origin"] == "environment"
    assert rows["DATABASE_URL"]["value"] == database_url.replace(password, "***")
