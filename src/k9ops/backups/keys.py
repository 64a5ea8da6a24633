"""Private keys that open encrypted backups: where they come from, and never a word of them in a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage

from k9ops.backups.manifest import Manifest, OpenedWith
from k9ops.config.settings import Settings
from k9ops.errors import KeyUnsuitable

_FILE_LIMIT_BYTES = 1 << 20
_PROTECTED = ("age-encryption.org/", "-----BEGIN AGE")


@dataclass(frozen=True)
class PrivateKeys:
    """Private keys, kept out of every text form.

    Attributes:
        identities: As pyrage takes them.
        public_keys: Their public keys, in the same order.
        kind: `one_off_key` for a key that was made for one backup.
    """

    identities: tuple[Any, ...] = field(repr=False)
    public_keys: tuple[str, ...]
    kind: OpenedWith = "private_key"

    def fits(self, recipients: Sequence[str]) -> bool:
        """Tell whether one of the keys belongs to one of these public keys."""
        return not set(recipients).isdisjoint(self.public_keys)


def make_one_off_key() -> PrivateKeys:
    """Make a key that never leaves this process, to prove with it what the process has encrypted."""
    return _wrap([pyrage.x25519.Identity.generate()], "one_off_key")


def read_keys(text: str) -> PrivateKeys:
    """Read what `age-keygen` writes: a key a line, and comments.

    Raises:
        KeyUnsuitable: There is no key in it, or something else; the message repeats nothing of it.
    """
    if text.lstrip().startswith(_PROTECTED):
        raise KeyUnsuitable("The private key is protected with a passphrase: open it with `age -d` first.")
    identities = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        try:
            identities.append(pyrage.x25519.Identity.from_str(words))
        except pyrage.IdentityError:
            raise KeyUnsuitable(f"Line {number} is no private key such as AGE-SECRET-KEY-1….") from None
    if not identities:
        raise KeyUnsuitable("There is no private key in it (AGE-SECRET-KEY-1…).")
    return _wrap(identities, "private_key")


def read_key_file(path: Path) -> PrivateKeys:
    """Read a file of private keys.

    Raises:
        KeyUnsuitable: It cannot be read, or has no key in it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_LIMIT_BYTES).decode()
    except OSError as exc:
        raise KeyUnsuitable(f"The file of the private key cannot be read: {exc.strerror}.", file=str(path)) from exc
    except UnicodeDecodeError:
        raise KeyUnsuitable("The file of the private key is not text.", file=str(path)) from None
    return read_keys(text)


def find_keys_of(settings: Settings, manifest: Manifest, given: PrivateKeys | None) -> PrivateKeys | None:
    """Return the keys to use for a backup.

    Args:
        settings: `K9OPS_BACKUP_IDENTITY_FILE` counts where none are given.
        manifest: Of the backup.
        given: By a person, for this backup.

    Returns:
        None for a plain backup, and when nobody gave a key and the file of the settings has none that fits.

    Raises:
        KeyUnsuitable: The given keys do not fit, or the file of the settings cannot be read.
    """
    encryption = manifest.encryption
    if encryption is None:
        return None
    recipients = (*encryption.recipients, *filter(None, [encryption.one_off_recipient]))
    if given is not None and not given.fits(recipients):
        raise KeyUnsuitable(
            f"This private key belongs to {', '.join(given.public_keys)}; the backup is encrypted to"
            f" {', '.join(encryption.recipients)}."
        )
    if given is not None or settings.backup_identity_file is None:
        return given
    keys = read_key_file(settings.backup_identity_file)
    return keys if keys.fits(recipients) else None


def _wrap(identities: list[Any], kind: OpenedWith) -> PrivateKeys:
    return PrivateKeys(tuple(identities), tuple(str(identity.to_public()) for identity in identities), kind)
