"""The one place that translates what Google says and what the network does into errors of k9ops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from google.auth import exceptions as google_errors

from k9ops.errors import (
    DriveAccessRevoked,
    DriveFileExists,
    DriveFileMissing,
    DriveLimited,
    DriveQuotaExceeded,
    DriveRefused,
    DriveUnavailable,
    K9opsError,
)

# https://developers.google.com/workspace/drive/api/guides/handle-errors
_LIMIT_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "sharingRateLimitExceeded"}
)
_QUOTA_REASONS = frozenset({"storageQuotaExceeded", "quotaExceeded", "teamDriveFileLimitExceeded"})
_SERVER_FAULT = 500
_LONGEST_WAIT_S = 3600.0

_REVOKED = (
    "Google no longer accepts the credentials for Drive: access was revoked, or has expired. Connect again in the"
    " application's backup settings, or with `k9ops drive connect`."
)


def error_of(response: requests.Response) -> K9opsError:
    """Return the error that an answer with a status of 400 or more stands for."""
    status, reason = response.status_code, _reason_of(response)
    detail = {"status": status, "reason": reason}
    retry_after_s = parse_retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))
    if status == requests.codes.unauthorized:
        return DriveAccessRevoked(_REVOKED, **detail)
    if status == requests.codes.too_many_requests or reason in _LIMIT_REASONS:
        return DriveLimited("Google Drive takes no more requests for now.", retry_after_s=retry_after_s, **detail)
    if reason in _QUOTA_REASONS:
        return DriveQuotaExceeded(
            "The storage of this Google account is full. Make room, or buy some; a service account has none of its own"
            " and needs a folder in a shared drive.",
            **detail,
        )
    if status == requests.codes.not_found:
        return DriveFileMissing("Google Drive has no such file, or not for this account.", **detail)
    if status == requests.codes.conflict:
        return DriveFileExists("Google Drive has a file of this id already.", **detail)
    if status >= _SERVER_FAULT or status == requests.codes.request_timeout:
        return DriveUnavailable(
            f"Google Drive has a fault of its own (HTTP {status}).", retry_after_s=retry_after_s, **detail
        )
    words = f"HTTP {status}, {reason}" if reason else f"HTTP {status}"
    return DriveRefused(f"Google Drive refuses a request ({words}).", **detail)


@contextmanager
def network_errors() -> Iterator[None]:
    """Turn what the network and the token endpoint do, met inside, into errors of k9ops.

    Their own words are left out: they carry addresses, and the address of an upload is a secret.

    Raises:
        DriveUnavailable: No connection, a time-out, a connection that ended early.
        DriveAccessRevoked: Google takes the credentials no more.
    """
    try:
        yield
    except google_errors.RefreshError as exc:
        if exc.retryable:
            raise DriveUnavailable("Google's sign-in has a fault of its own.") from None
        raise DriveAccessRevoked(_REVOKED, reason=_oauth_reason(exc)) from None
    except google_errors.TransportError:
        raise DriveUnavailable("Google's sign-in does not answer.") from None
    except (google_errors.GoogleAuthError, ValueError) as exc:
        raise DriveAccessRevoked(_REVOKED, reason=type(exc).__name__) from None
    except requests.Timeout:
        raise DriveUnavailable("Google Drive does not answer in time.") from None
    except requests.RequestException as exc:
        raise DriveUnavailable("The connection to Google Drive failed.", reason=type(exc).__name__) from None


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a header `Retry-After` asks for, at most an hour (RFC 9110, section 10.2.3).

    Args:
        text: Seconds or a date; None when there is no header.
        now: Aware.
    """
    if not text:
        return None
    try:
        wait_s = float(text) if text.strip().isdecimal() else (parsedate_to_datetime(text) - now).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)


def _reason_of(response: requests.Response) -> str:
    try:
        document: Any = response.json()
        return str(document["error"]["errors"][0]["reason"])
    except (requests.RequestException, ValueError, LookupError, TypeError):
        return ""


def _oauth_reason(error: google_errors.RefreshError) -> str:
    """Return the word of the token endpoint, such as `invalid_grant`, and nothing else of its answer."""
    for argument in error.args:
        try:
            document = argument if isinstance(argument, dict) else json.loads(argument)
            return str(document["error"])
        except (ValueError, LookupError, TypeError):
            continue
    return ""
