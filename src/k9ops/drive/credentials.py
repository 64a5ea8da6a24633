"""Credentials for Google Drive: a person's tokens in the web application's form, or a service account's key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import google.auth.credentials
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

from k9ops.errors import DriveNotConnected

#: A person's consent covers only the files that k9ops makes; a service account sees what was shared with it.
FILE_SCOPE = "https://www.googleapis.com/auth/drive.file"
SERVICE_SCOPE = "https://www.googleapis.com/auth/drive"
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, repr=False)
class UserTokens:
    """A person's consent.

    Attributes:
        token: Access token, for about an hour; None before the first refresh.
        refresh_token: Gets new ones until the person revokes it.
        token_uri: Where.
        client_id: Of the OAuth client that was consented to.
        client_secret: Its secret.
        scopes: What was consented to.
        expiry: Of the access token, aware UTC; None is unknown.
    """

    token: str | None
    refresh_token: str
    token_uri: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    expiry: datetime | None

    def __repr__(self) -> str:
        return "UserTokens(…)"

    def encode(self) -> str:
        """Return the JSON that the web application keeps; the expiry is a naive ISO 8601 time in UTC."""
        expiry = self.expiry.astimezone(UTC).replace(tzinfo=None).isoformat() if self.expiry else None
        document = {
            "token": self.token,
            "refresh_token": self.refresh_token,
            "token_uri": self.token_uri,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scopes": list(self.scopes),
            "expiry": expiry,
        }
        return json.dumps(document)

    def with_token_of(self, refreshed: user_credentials.Credentials) -> UserTokens:
        """Return these with what a refresh brought."""
        return replace(
            self,
            token=refreshed.token,
            refresh_token=refreshed.refresh_token or self.refresh_token,
            expiry=refreshed.expiry.replace(tzinfo=UTC) if refreshed.expiry else None,
        )

    def for_google(self) -> user_credentials.Credentials:
        """Return the form that Google's library takes."""
        credentials = user_credentials.Credentials(  # type: ignore[no-untyped-call]
            self.token,
            refresh_token=self.refresh_token,
            token_uri=self.token_uri,
            client_id=self.client_id,
            client_secret=self.client_secret,
            scopes=list(self.scopes),
        )
        # The library wants it naive. Without it a token counts as good for ever; then the first 401 refreshes it.
        credentials.expiry = self.expiry.astimezone(UTC).replace(tzinfo=None) if self.expiry else None
        return credentials


def decode_tokens(text: str) -> UserTokens:
    """Read the JSON of the web application.

    Raises:
        DriveNotConnected: It is not that, or has no refresh token; its content is not told.
    """
    try:
        document: Any = json.loads(text)
        expiry = document.get("expiry")
        tokens = UserTokens(
            token=document.get("token"),
            refresh_token=str(document["refresh_token"] or ""),
            token_uri=str(document.get("token_uri") or _TOKEN_URI),
            client_id=str(document["client_id"]),
            client_secret=str(document["client_secret"]),
            scopes=tuple(document.get("scopes") or (FILE_SCOPE,)),
            expiry=_parse_expiry(expiry) if expiry else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DriveNotConnected(
            "The Drive credentials in the application's backup settings cannot be read. Connect Drive there again."
        ) from None
    if not tokens.refresh_token:
        raise DriveNotConnected("The Drive credentials have no refresh token. Connect Drive again.")
    check_address(tokens.token_uri)
    return tokens


def merge_tokens(text: str, new: UserTokens) -> str:
    """Return the JSON of the web application with newer tokens; whatever else it holds stays."""
    return json.dumps({**json.loads(text), **json.loads(new.encode())})


def service_credentials(text: str) -> google.auth.credentials.Credentials:
    """Read the JSON of a service account's key.

    Raises:
        DriveNotConnected: It is not one.
    """
    try:
        info: Mapping[str, Any] = json.loads(text)
        check_address(str(info["token_uri"]))
        credentials: google.auth.credentials.Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            info, scopes=[SERVICE_SCOPE]
        )
    except (ValueError, LookupError, TypeError):
        raise DriveNotConnected("K9OPS_DRIVE_SERVICE_ACCOUNT is not the JSON key of a service account.") from None
    return credentials


def check_address(url: str) -> None:
    """Make sure that secrets go over TLS, or stay on this machine.

    Raises:
        DriveNotConnected: They would not.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DriveNotConnected("The address for tokens in the Drive credentials is not https.")


def _parse_expiry(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
