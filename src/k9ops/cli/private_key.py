"""Private keys on the command line: from a file or typed unseen, never as an argument."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from k9ops.backups.catalogue import Backup
from k9ops.backups.keys import PrivateKeys, find_keys_of, read_key_file, read_keys
from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid

IdentityOption = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        help="File with the private key of an encrypted backup; `-` asks for it, or reads standard input.",
    ),
]

_STANDARD_INPUT = Path("-")


def take_keys(identity: Path | None) -> PrivateKeys | None:
    """Return the keys that `--identity` names; None without the option.

    Raises:
        KeyUnsuitable: There is no key in it.
    """
    if identity is None:
        return None
    if identity == _STANDARD_INPUT:
        return _ask() if sys.stdin.isatty() else read_keys(sys.stdin.read())
    return read_key_file(identity)


def require_keys(settings: Settings, backup: Backup, identity: Path | None) -> PrivateKeys | None:
    """Return the keys that open a backup, asking for them on a terminal; None for a plain backup.

    Raises:
        KeyUnsuitable: What was given does not fit the backup.
        ParamsInvalid: It is encrypted, no key is given, and nobody can be asked.
    """
    keys = find_keys_of(settings, backup.manifest, take_keys(identity))
    if keys is not None or backup.manifest.encryption is None:
        return keys
    if not sys.stdin.isatty():
        raise ParamsInvalid(f"Backup {backup.backup_id} is encrypted: give its private key with --identity FILE.")
    return find_keys_of(settings, backup.manifest, _ask())


def _ask() -> PrivateKeys:
    return read_keys(typer.prompt("Private key (AGE-SECRET-KEY-1…)", hide_input=True, err=True))
