"""`k9ops drive` as a process, against the double of Drive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.drive_double.connecting import make_tokens
from tests.drive_double.server import DriveDouble, running_double
from tests.e2e.conftest import Command

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NEW_KEY = "HwABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4="


@pytest.fixture
def double() -> Iterator[DriveDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def k9ops(k9ops: Command, double: DriveDouble, database_url: str) -> Command:
    """The command, with an application that has Drive switched on and connected."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TABLE public.backup_settings (id int PRIMARY KEY, auto_backup_enabled bool, backup_frequency text,"
            " backup_hour int, retention_days int, google_drive_enabled bool, google_drive_folder_id text,"
            " google_drive_credentials text, last_backup_at timestamp, last_backup_status text,"
            " last_backup_message text)"
        )
        connection.execute(
            "INSERT INTO public.backup_settings VALUES (1, true, 'DAILY', 2, 30, true, NULL, %s)",
            [make_tokens(double).encode()],
        )
    k9ops.environment["K9OPS_DRIVE_API_URL"] = double.url
    return k9ops


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
    return row[0] if row else None


def test_backup_create_goes_all_the_way_to_drive_and_comes_back(k9ops: Command, double: DriveDouble) -> None:
    runs = k9ops.json("backup", "create")["runs"]
    assert {run["job"]: run["state"] for run in runs}["upload_backup"] == "succeeded"
    backup_id = runs[0]["evidence"]["backup_id"]
    document = k9ops.json("drive", "status")
    assert (document["account"], document["copies"], document["newest"]) == ("k9@example.org", 1, backup_id)
    assert document["readable_in_dumps"] is True
    text = k9ops("drive", "status").stdout
    assert "K9 Database Backups" in text
    assert "readable in every dump" in text
    (copy,) = k9ops.json("drive", "list")["copies"]
    assert (copy["copy"], copy["verification"]) == ("as uploaded", "verified")
    assert "as uploaded" in k9ops("drive", "list").stdout
    assert "2 files compared" in k9ops("backup", "show", backup_id).stdout
    assert "in the folder already" in k9ops("drive", "pull", backup_id, code=2).stderr

    folder = k9ops.folder / "backups"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    assert "only on Drive" in k9ops("drive", "list").stdout
    double.faults.cut_offsets = {5000}
    assert "counts as unverified" in k9ops("drive", "pull", backup_id[:14]).stderr
    for name in (f"{backup_id}.dump", f"{backup_id}.json"):
        assert (folder / name).read_bytes() == kept[name]
    assert double.faults.cut_offsets == set()
    assert "verified" in k9ops("backup", "verify", backup_id).stdout
    pushed = k9ops.json("drive", "push", backup_id)["run"]
    assert (pushed["state"], pushed["evidence"]["sent_bytes"]) == ("succeeded", 0)


def test_pull_refuses_what_is_not_what_was_uploaded(k9ops: Command, double: DriveDouble) -> None:
    backup_id = k9ops.json("backup", "create")["runs"][0]["evidence"]["backup_id"]
    for path in (k9ops.folder / "backups").iterdir():
        path.unlink()
    archive = next(item for item in double.state.contents() if item.meta["name"].endswith(".dump"))
    archive.content[100] ^= 1
    assert "not what was uploaded" in k9ops("drive", "pull", backup_id, code=1).stderr
    assert [path.name for path in (k9ops.folder / "backups").iterdir()] == [".uploads.lock"]
    assert "There is no backup 2001" in k9ops("drive", "pull", "2001", code=2).stderr


def test_seal_moves_the_applications_credentials_and_changes_keys(
    k9ops: Command, database_url: str, double: DriveDouble
) -> None:
    assert "K9OPS_SECRET_KEY is not set" in k9ops("drive", "seal", code=2).stderr
    k9ops.environment["K9OPS_SECRET_KEY"] = KEY
    assert k9ops.json("drive", "seal") == {"done": "moved"}
    assert ask(database_url, "SELECT google_drive_credentials FROM public.backup_settings") is None
    sealed = ask(database_url, "SELECT sealed FROM k9ops.drive_credential")
    for secret in ("refresh-1", "client-secret-1"):
        assert secret not in sealed
    document = k9ops.json("drive", "status")
    assert (document["credentials"], document["readable_in_dumps"]) == ("sealed", False)
    assert k9ops.json("drive", "seal") == {"done": "unchanged"}
    k9ops.environment["K9OPS_SECRET_KEY"] = f"{NEW_KEY},{KEY}"
    assert k9ops.json("drive", "seal") == {"done": "resealed"}
    k9ops.environment["K9OPS_SECRET_KEY"] = NEW_KEY
    assert k9ops.json("drive", "status")["credentials"] == "sealed"
    k9ops.environment["K9OPS_SECRET_KEY"] = KEY
    assert "does not have" in k9ops("drive", "status", code=2).stderr


def test_connect_asks_with_a_code_and_disconnect_takes_it_back(
    k9ops: Command, database_url: str, double: DriveDouble, tmp_path: Path
) -> None:
    client = {
        "installed": {"client_id": "client-1", "client_secret": "client-secret-1", "token_uri": f"{double.url}token"}
    }
    assert "K9OPS_SECRET_KEY is not set" in k9ops("drive", "connect", code=2).stderr
    k9ops.environment["K9OPS_SECRET_KEY"] = KEY
    assert "GOOGLE_OAUTH_CLIENT_SECRETS is not set" in k9ops("drive", "connect", code=2).stderr
    k9ops.environment["GOOGLE_OAUTH_CLIENT_SECRETS"] = json.dumps(client)
    assert "refused" in k9ops("drive", "connect", code=1).stderr
    assert ask(database_url, "SELECT count(*) FROM k9ops.drive_credential") == 0

    double.state.device_is_approved.set()
    path = tmp_path / "client.json"
    path.write_text(json.dumps(client))
    k9ops.environment["GOOGLE_OAUTH_CLIENT_SECRETS"] = str(path)
    done = k9ops("drive", "connect")
    assert f"open {double.url}device and type GQVQ-JKEC" in done.stderr
    assert "Google Drive of k9@example.org is connected" in done.stdout
    assert ask(database_url, "SELECT account FROM k9ops.drive_credential") == "k9@example.org"
    assert k9ops.json("drive", "status")["credentials"] == "sealed"

    assert k9ops.json("drive", "disconnect") == {"credentials": "sealed", "revoked": True}
    assert double.state.revoked == ["refresh-device"]
    assert k9ops.json("drive", "status")["credentials"] == "application", "another consent stays"
    k9ops("drive", "disconnect")
    assert "not connected" in k9ops("drive", "status", code=2).stderr


def test_connect_says_when_the_client_is_of_the_wrong_type(k9ops: Command, double: DriveDouble) -> None:
    k9ops.environment["K9OPS_SECRET_KEY"] = KEY
    client = {"web": {"client_id": "web-client", "client_secret": "s", "token_uri": f"{double.url}token"}}
    k9ops.environment["GOOGLE_OAUTH_CLIENT_SECRETS"] = json.dumps(client)
    assert "limited input devices" in k9ops("drive", "connect", code=2).stderr


def test_folder_that_was_deleted_is_made_anew_only_when_asked(k9ops: Command, double: DriveDouble) -> None:
    assert k9ops.json("drive", "folder") == {"folder": None}
    assert "none yet" in k9ops("drive", "status").stdout
    assert "No backups on Google Drive" in k9ops("drive", "list").stdout
    assert double.state.folders() == [], "looking makes nothing"
    first = k9ops.json("drive", "folder", "--new")["folder"]["id"]
    assert k9ops.json("drive", "folder")["folder"]["id"] == first
    del double.state.files[first]
    assert "drive folder --new" in k9ops("drive", "folder", code=1).stderr
    assert k9ops.json("drive", "folder", "--new")["folder"]["id"] != first


def test_check_warns_of_readable_tokens_and_of_a_backup_that_is_not_there(k9ops: Command) -> None:
    k9ops("backup", "create", "--no-verify")
    k9ops("backup", "verify", k9ops.json("backup", "list")["backups"][0]["backup_id"])
    findings = {item["name"]: item for item in k9ops.json("check", "--timeout", "0", code=1)["checks"]}
    assert findings["drive credentials"]["status"] == "warn"
    assert "k9ops drive seal" in findings["drive credentials"]["advice"]
    assert "the newest backup is not there yet" in findings["google drive"]["message"]
    k9ops.environment["K9OPS_DRIVE_API_URL"] = "http://127.0.0.1:1/"
    findings = {item["name"]: item for item in k9ops.json("check", "--timeout", "0", code=1)["checks"]}
    assert (findings["google drive"]["status"], findings["drive credentials"]["status"]) == ("fail", "warn")


def test_service_account_is_used_from_a_file(k9ops: Command, double: DriveDouble, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    double.state.service_account_key = key.public_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    info = {
        "type": "service_account", "client_email": "k9@project.iam.gserviceaccount.com", "private_key": pem,
        "private_key_id": "1", "token_uri": f"{double.url}token",
    }  # fmt: skip
    path = tmp_path / "service.json"
    path.write_text(json.dumps(info))
    variables = {"K9OPS_DRIVE_SERVICE_ACCOUNT_FILE": str(path)}
    assert k9ops.json("drive", "status", **variables)["credentials"] == "service account"
    assert "remove K9OPS_DRIVE_SERVICE_ACCOUNT" in k9ops("drive", "disconnect", code=2, **variables).stderr
