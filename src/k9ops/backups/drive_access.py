"""Which credentials for Google Drive hold, where refreshed ones are kept, and which folder is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import google.auth.credentials
from google.oauth2 import credentials as user_credentials
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.application import inspect_application
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.drive_records import (
    folder_lock,
    read_application_credentials,
    read_folder,
    read_sealed,
    replace_application_credentials,
    replace_sealed,
    write_folder,
    write_sealed,
)
from k9ops.db.engine import database_errors
from k9ops.drive.credentials import UserTokens, decode_tokens, merge_tokens, service_credentials
from k9ops.drive.folder import find_folder, find_or_make_folder, open_folder
from k9ops.drive.google_drive import GoogleDrive
from k9ops.drive.sealing import SecretBox
from k9ops.drive.store import DriveStore, RemoteFile
from k9ops.drive.transport import Transport
from k9ops.errors import DatabaseUnavailable, DriveNotConnected, SecretUnreadable
from k9ops.outcome import Execution

Origin = Literal["service account", "sealed", "application"]
SEAL_PURPOSE = "drive credentials"
_TRIES = 3

log = get_logger("k9ops.drive")


@dataclass(frozen=True, repr=False)
class FoundCredentials:
    """The credentials that hold.

    Attributes:
        origin: Where they stand.
        stored: The text that stands there; a secret where it is the application's.
        tokens: A person's; None for a service account.
    """

    origin: Origin
    stored: str
    tokens: UserTokens | None

    def for_google(self) -> google.auth.credentials.Credentials:
        """Return the form that Google's library takes."""
        return self.tokens.for_google() if self.tokens else service_credentials(self.stored)


def open_box(settings: Settings) -> SecretBox:
    """Return what seals and opens.

    Raises:
        SecretUnreadable: `K9OPS_SECRET_KEY` is not set.
    """
    if not settings.secret_keys:
        raise SecretUnreadable(
            "K9OPS_SECRET_KEY is not set, and tokens are never written in clear text. `openssl rand -base64 32` makes a"
            " key; keep a copy of it away from this machine."
        )
    return SecretBox(settings.secret_keys)


def find_credentials(settings: Settings, engine: Engine) -> FoundCredentials:
    """Return the credentials that hold: a service account's, else the sealed ones, else the application's.

    Raises:
        DriveNotConnected: There are none, or they cannot be read.
        SecretUnreadable: They are sealed with a key that is not there.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    service = settings.drive_service_account.get_secret_value()
    if service:
        return FoundCredentials("service account", service, None)
    with database_errors(), engine.begin() as connection:
        sealed = read_sealed(connection)
        plain = None if sealed else read_application_credentials(connection, inspect_application(connection))
    if sealed is not None:
        opened = open_box(settings).open(sealed.sealed, purpose=SEAL_PURPOSE)
        return FoundCredentials("sealed", sealed.sealed, decode_tokens(opened))
    if plain is not None:
        return FoundCredentials("application", plain, decode_tokens(plain))
    raise DriveNotConnected(
        "Google Drive is not connected. Connect it in the application's backup settings, or with `k9ops drive connect`."
    )


@contextmanager
def open_drive(settings: Settings, engine: Engine, *, execution: Execution) -> Iterator[DriveStore]:
    """Connect to Google Drive during the block; refreshed tokens are kept where the old ones stand.

    Args:
        settings: Address, time-outs, keys.
        engine: The database with the credentials.
        execution: Asked whether to stop while bytes are moved.

    Raises:
        K9opsError: As `find_credentials`.
    """
    found = find_credentials(settings, engine)
    credentials = found.for_google()
    transport = Transport(
        credentials,
        timeout_s=(float(settings.connect_timeout_s), float(settings.drive_timeout_s)),
        on_refresh=_token_keeper(settings, engine, found, credentials),
    )
    store = GoogleDrive(transport, api_url=settings.drive_api_url, check_stop=execution.check_stop)
    try:
        yield store
    finally:
        store.close()


def use_folder(settings: Settings, engine: Engine, wishes: BackupSettings, store: DriveStore) -> RemoteFile:
    """Return the folder for backups: the chosen one, else the one of before, else it is found or made.

    Raises:
        DriveFolderMissing: It is gone, in the trash or out of reach.
        TransientError: Another process looks for it at this moment.
    """
    chosen = settings.drive_folder_id or wishes.google_drive_folder_id
    if chosen:
        return open_folder(store, chosen)
    with folder_lock(engine) as connection:
        known = read_folder(connection)
        if known:
            return open_folder(store, known)
        folder = find_or_make_folder(store)
        write_folder(connection, folder.file_id)
        return folder


def look_for_folder(settings: Settings, engine: Engine, wishes: BackupSettings, store: DriveStore) -> RemoteFile | None:
    """Return the folder for backups without making one; None when there is none yet.

    Raises:
        DriveFolderMissing: As `use_folder`.
    """
    known = settings.drive_folder_id or wishes.google_drive_folder_id
    if not known:
        with database_errors(), engine.begin() as connection:
            known = read_folder(connection)
    return open_folder(store, known) if known else find_folder(store)


def _token_keeper(
    settings: Settings, engine: Engine, found: FoundCredentials, credentials: google.auth.credentials.Credentials
) -> Callable[[], None]:
    """Return what is to be done after each refresh."""
    last = found

    def keep() -> None:
        nonlocal last
        if last.tokens is None or not isinstance(credentials, user_credentials.Credentials):
            return
        new = last.tokens.with_token_of(credentials)
        try:
            last = _keep_tokens(settings, engine, last, new)
        except (DatabaseUnavailable, DBAPIError) as exc:
            # The next process refreshes for itself.
            log.warning("drive_token.unkept", problem=type(exc).__name__)

    return keep


def _keep_tokens(settings: Settings, engine: Engine, found: FoundCredentials, new: UserTokens) -> FoundCredentials:
    """Put new tokens in the place of those that were refreshed, unless that place has newer ones.

    Where a key is set, nothing readable is written: an access token of the application's credentials then lives with
    this process, and only a refresh token that Google has replaced is kept, sealed.
    """
    assert found.tokens is not None  # noqa: S101 - the caller has looked
    is_rotated = new.refresh_token != found.tokens.refresh_token
    if found.origin == "application" and settings.secret_keys:
        if is_rotated:
            sealed = open_box(settings).seal(new.encode(), purpose=SEAL_PURPOSE)
            with database_errors(), engine.begin() as connection:
                write_sealed(connection, sealed, account=None)
            return FoundCredentials("sealed", sealed, new)
        return FoundCredentials(found.origin, found.stored, new)
    expected, used = found.stored, found.tokens
    for _ in range(_TRIES):
        is_sealed = found.origin == "sealed"
        text = open_box(settings).seal(new.encode(), purpose=SEAL_PURPOSE) if is_sealed else merge_tokens(expected, new)
        with database_errors(), engine.begin() as connection:
            if is_sealed and replace_sealed(connection, expected=expected, new=text):
                return FoundCredentials(found.origin, text, new)
            if not is_sealed and replace_application_credentials(connection, expected=expected, new=text):
                return FoundCredentials(found.origin, text, new)
        current = find_credentials(settings, engine)
        if current.tokens is None or current.origin != found.origin or not _is_older(current.tokens, new, used):
            break
        expected = current.stored
    return FoundCredentials(found.origin, found.stored, new)


def _is_older(current: UserTokens, new: UserTokens, used: UserTokens) -> bool:
    """Tell whether the tokens that stand there now are of the same consent, and older than the new ones."""
    if current.refresh_token not in (used.refresh_token, new.refresh_token):
        return False
    return current.expiry is None or (new.expiry is not None and current.expiry < new.expiry)
