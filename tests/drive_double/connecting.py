"""Stores that talk to the double with the real adapter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.drive_double.server import DriveDouble

from k9ops.drive.credentials import FILE_SCOPE, UserTokens
from k9ops.drive.google_drive import GoogleDrive
from k9ops.drive.transport import Transport

TIMEOUT_S = (5.0, 10.0)


def make_tokens(double: DriveDouble, *, is_fresh: bool = False) -> UserTokens:
    """Return the consent that the double knows."""
    return UserTokens(
        token=double.state.new_token() if is_fresh else None,
        refresh_token="refresh-1",
        token_uri=f"{double.url}token",
        client_id="client-1",
        client_secret="client-secret-1",
        scopes=(FILE_SCOPE,),
        expiry=datetime.now(UTC) + timedelta(hours=1) if is_fresh else None,
    )


def connect(
    double: DriveDouble,
    *,
    tokens: UserTokens | None = None,
    timeout_s: tuple[float, float] = TIMEOUT_S,
    check_stop: Callable[[], None] = lambda: None,
    on_refresh: Callable[[], None] = lambda: None,
) -> GoogleDrive:
    """Return the real adapter, connected to the double."""
    credentials = (tokens or make_tokens(double)).for_google()
    transport = Transport(credentials, timeout_s=timeout_s, on_refresh=on_refresh)
    return GoogleDrive(transport, api_url=double.url, check_stop=check_stop)
