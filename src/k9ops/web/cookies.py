"""The signature of the session's cookie: without it, what a browser sends is not looked up."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine, text

from k9ops.config.keys import KEY_BYTES
from k9ops.db.engine import database_errors

_PURPOSE = b"k9ops: cookie of a session, 1"
_PAUSE_S = 60.0


class CookieSigner:
    """Signs with the first key, believes any of them.

    Args:
        engine: Its database keeps the one key of all processes where the settings have none.
        keys: Of `K9OPS_SECRET_KEY`, the newest first; may be empty.
        clock: Seconds that only grow.
    """

    def __init__(self, engine: Engine, keys: Sequence[bytes], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._keys = [_derive(key) for key in keys]
        self._is_kept = not keys
        self._clock = clock
        self._read_at = 0.0

    def sign(self, token: str) -> str:
        """Return what the cookie of a token holds."""
        if self._is_kept:
            self._read_key()
        return f"{token}.{_sign(self._keys[0], token)}"

    def read(self, cookie: str) -> str | None:
        """Return the token of a cookie; None when none of the keys signed it.

        Where the database keeps the key and it does not fit, the key is read again, at most once a minute: a restored
        database brings another.
        """
        token, dot, _ = cookie.partition(".")
        if not (token and dot):
            return None
        if self._fits(token, cookie):
            return token
        if self._is_kept and (not self._keys or self._clock() - self._read_at >= _PAUSE_S):
            self._read_key()
            return token if self._fits(token, cookie) else None
        return None

    def _fits(self, token: str, cookie: str) -> bool:
        return any(hmac.compare_digest(_encode(f"{token}.{_sign(key, token)}"), _encode(cookie)) for key in self._keys)

    def _read_key(self) -> None:
        self._keys = [_derive(_find_key(self._engine))]
        self._read_at = self._clock()


def _find_key(engine: Engine) -> bytes:
    """Return the key that the database keeps; the first process that asks makes it."""
    make = text("INSERT INTO k9ops.web_key (id, key) VALUES (1, :key) ON CONFLICT DO NOTHING")
    find = text("SELECT key FROM k9ops.web_key")
    with database_errors(), engine.begin() as connection:
        found = connection.execute(find).scalar()
        if found is None:
            connection.execute(make, {"key": secrets.token_bytes(KEY_BYTES)})
            found = connection.execute(find).scalar_one()
    return bytes(found)


def _derive(key: bytes) -> bytes:
    """Return a key for cookies only, so that no signature says anything about what the key is otherwise for."""
    return hmac.digest(key, _PURPOSE, "sha256")


def _sign(key: bytes, token: str) -> str:
    signature = hmac.digest(key, _encode(token), "sha256")
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def _encode(text_: str) -> bytes:
    return text_.encode("utf-8", "replace")
