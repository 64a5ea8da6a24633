"""Consent for a machine without a browser: the device flow of RFC 8628, and taking a consent back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from k9ops.drive.credentials import FILE_SCOPE, UserTokens, check_address
from k9ops.drive.problems import network_errors
from k9ops.errors import DriveAccessRevoked, DriveNotConnected, DriveUnavailable

_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_S = 5.0
_LONGEST_INTERVAL_S = 60.0
_SERVER_FAULT = 500


@dataclass(frozen=True, repr=False)
class OAuthClient:
    """What a person consents to.

    Attributes:
        client_id: Google's.
        client_secret: Its secret.
        token_uri: Where tokens come from; the other addresses stand beside it.
    """

    client_id: str
    client_secret: str
    token_uri: str


@dataclass(frozen=True, repr=False)
class DeviceCode:
    """A consent that is asked for.

    Attributes:
        user_code: What the person types.
        url: Where.
        device_code: What is asked with, a secret.
        interval_s: Shortest wait between two questions.
        expires_in_s: How long the code holds.
    """

    user_code: str
    url: str
    device_code: str
    interval_s: float
    expires_in_s: float


def read_client(text: str) -> OAuthClient:
    """Read an OAuth client: its JSON as Google's console hands it out, or the path of that file.

    Raises:
        DriveNotConnected: It is not one.
    """
    if not text:
        raise DriveNotConnected(
            "GOOGLE_OAUTH_CLIENT_SECRETS is not set. It names an OAuth client of the type for TVs and limited input"
            " devices."
        )
    try:
        content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
        (found,) = json.loads(content).values()
        client = OAuthClient(
            str(found["client_id"]), str(found["client_secret"]), str(found.get("token_uri") or _TOKEN_URI)
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise DriveNotConnected(
            "GOOGLE_OAUTH_CLIENT_SECRETS is neither the JSON of an OAuth client nor its path."
        ) from None
    check_address(client.token_uri)
    return client


def ask_for_consent(client: OAuthClient, *, timeout_s: float) -> DeviceCode:
    """Begin to ask a person for the scope `drive.file`.

    Raises:
        DriveNotConnected: Google does not take this client for it.
        DriveUnavailable: Google does not answer.
    """
    status, answer = _post(
        urljoin(client.token_uri, "device/code"), timeout_s, client_id=client.client_id, scope=FILE_SCOPE
    )
    if status != requests.codes.ok:
        raise DriveNotConnected(
            f"Google does not let this OAuth client ask for consent here ({answer.get('error', status)}). Its type must"
            " be the one for TVs and limited input devices."
        )
    return DeviceCode(
        user_code=str(answer["user_code"]),
        url=str(answer.get("verification_url") or answer.get("verification_uri")),
        device_code=str(answer["device_code"]),
        interval_s=float(answer.get("interval", _SLOWER_S)),
        expires_in_s=float(answer["expires_in"]),
    )


def wait_for_consent(
    client: OAuthClient, code: DeviceCode, *, timeout_s: float, sleep: Callable[[float], None] = time.sleep
) -> UserTokens:
    """Wait until the person has consented.

    Raises:
        DriveAccessRevoked: The person refused, or the code ran out.
        DriveUnavailable: Google does not answer.
    """
    deadline_s = time.monotonic() + code.expires_in_s
    interval_s = code.interval_s
    while time.monotonic() < deadline_s:
        sleep(interval_s)
        status, answer = _post(
            client.token_uri,
            timeout_s,
            client_id=client.client_id,
            client_secret=client.client_secret,
            device_code=code.device_code,
            grant_type=_GRANT,
        )
        if status == requests.codes.ok:
            return _tokens_of(client, answer)
        problem = answer.get("error")
        if problem == "slow_down":
            interval_s = min(interval_s + _SLOWER_S, _LONGEST_INTERVAL_S)
        elif problem == "access_denied":
            raise DriveAccessRevoked("Access to Google Drive was refused; nothing was changed.")
        elif problem != "authorization_pending":
            break
    raise DriveAccessRevoked("Nobody consented in time; nothing was changed. Start again for a new code.")


def revoke(tokens: UserTokens, *, timeout_s: float) -> bool:
    """Take a consent back at Google; tell whether Google knew it still.

    Raises:
        DriveUnavailable: Google does not answer.
    """
    status, _ = _post(urljoin(tokens.token_uri, "revoke"), timeout_s, token=tokens.refresh_token)
    return bool(status == requests.codes.ok)


def _tokens_of(client: OAuthClient, answer: dict[str, Any]) -> UserTokens:
    scopes = tuple(str(answer.get("scope", "")).split())
    if FILE_SCOPE not in scopes or not answer.get("refresh_token"):
        raise DriveAccessRevoked("Google gave no lasting access to files that k9ops makes; nothing was changed.")
    return UserTokens(
        token=str(answer["access_token"]),
        refresh_token=str(answer["refresh_token"]),
        token_uri=client.token_uri,
        client_id=client.client_id,
        client_secret=client.client_secret,
        scopes=scopes,
        expiry=datetime.now(UTC) + timedelta(seconds=float(answer.get("expires_in", 0))),
    )


def _post(url: str, timeout_s: float, **form: str) -> tuple[int, dict[str, Any]]:
    with network_errors(), requests.post(url, data=form, timeout=timeout_s, allow_redirects=False) as response:
        if response.status_code >= _SERVER_FAULT:
            raise DriveUnavailable("Google's sign-in has a fault of its own.")
        try:
            answer: Any = response.json()
        except requests.JSONDecodeError:
            answer = {}
    return response.status_code, answer if isinstance(answer, dict) else {}
