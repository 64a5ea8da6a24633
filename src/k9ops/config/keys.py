"""Keys as they stand in a variable of the environment."""

from __future__ import annotations

import base64
import binascii

KEY_BYTES = 32


def decode_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of a list, base64 with commas between; none of an empty text.

    Raises:
        ValueError: One is not 32 bytes in base64.
    """
    if not text.strip():
        return ()
    keys = []
    for part in text.split(","):
        try:
            key = base64.b64decode(part.strip().replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error as exc:
            raise ValueError("not base64") from exc
        if len(key) != KEY_BYTES:
            raise ValueError(f"not {KEY_BYTES} bytes")
        keys.append(key)
    return tuple(keys)
