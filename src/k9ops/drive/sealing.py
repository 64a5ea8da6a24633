"""Sealing small secrets: AES-256-GCM with a key of the settings, so that a table or a dump holds nothing readable."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from k9ops.config.keys import KEY_BYTES
from k9ops.errors import SecretUnreadable

_NONCE_BYTES = 12
_VERSION = "k9ops1"


class SecretBox:
    """Seals with the first key, opens with any.

    Args:
        keys: Each of `KEY_BYTES`; to rotate, put the new one before the old one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"keys must have {KEY_BYTES} bytes, and there must be one")
        self._keys = {_name_of(key): key for key in reversed(keys)}
        self._first = _name_of(keys[0])

    def seal(self, plain: str, *, purpose: str) -> str:
        """Return a text that only the key opens, and only for the same purpose.

        Args:
            plain: The secret.
            purpose: What it is; a sealed value put in another's place does not open.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, plain.encode(), purpose.encode())
        return f"{_VERSION}.{self._first}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *, purpose: str) -> str:
        """Return the secret.

        Raises:
            SecretUnreadable: No key fits, it was altered, or it is another purpose's.
        """
        version, _, rest = sealed.partition(".")
        name, _, content = rest.partition(".")
        if version != _VERSION or name not in self._keys:
            raise SecretUnreadable(
                "A sealed value was sealed with a key that K9OPS_SECRET_KEY does not have. Add the former key after the"
                " new one.",
            )
        try:
            data = base64.b64decode(content, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(data).decode() != content:  # bits that decoding passes over
                raise InvalidTag
            plain = AESGCM(self._keys[name]).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, binascii.Error, ValueError):
            raise SecretUnreadable("A sealed value was altered, or is not what it was sealed for.") from None
        return plain.decode()

    def is_current(self, sealed: str) -> bool:
        """Tell whether a value was sealed with the first key."""
        return sealed.startswith(f"{_VERSION}.{self._first}.")


def _name_of(key: bytes) -> str:
    """Return what tells keys apart and says nothing about them."""
    return hashlib.sha256(b"k9ops key name" + key).hexdigest()[:8]
