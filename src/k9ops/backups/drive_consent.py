"""Credentials for Google Drive that a person gives, seals or takes back."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Engine

from k9ops.backups.drive_access import SEAL_PURPOSE, FoundCredentials, find_credentials, open_box, open_drive
from k9ops.config.settings import Settings
from k9ops.db.application import inspect_application
from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.drive_records import (
    delete_sealed,
    forget_folder,
    note_account,
    read_application_credentials,
    read_sealed,
    replace_application_credentials,
    replace_sealed,
    write_sealed,
)
from k9ops.db.engine import database_errors
from k9ops.drive.connect import revoke
from k9ops.drive.credentials import UserTokens, decode_tokens
from k9ops.drive.store import Quota
from k9ops.errors import DriveNotConnected, TransientError
from k9ops.outcome import Execution


@dataclass(frozen=True)
class Disconnection:
    """What became of a consent.

    Attributes:
        origin: Where the credentials stood.
        is_revoked: Whether Google was told and knew them still.
    """

    origin: str
    is_revoked: bool


def check_can_keep(settings: Settings) -> None:
    """Make sure, before anybody consents to anything, that the consent can be kept and will be used.

    Raises:
        SecretUnreadable: There is no key to seal with.
        DriveNotConnected: A service account would be used instead.
    """
    open_box(settings)
    if settings.drive_service_account.get_secret_value():
        raise DriveNotConnected("A service account is set, and is used before any consent: remove it first.")


def keep_consent(settings: Settings, engine: Engine, tokens: UserTokens, *, event: AuditEvent) -> Quota:
    """Keep new tokens, sealed, in place of those that were there, and use them once.

    The folder is looked for again, as it may be another person's drive.

    Args:
        settings: The key.
        engine: The database.
        tokens: From Google.
        event: For the audit: who connects, from where and why.

    Returns:
        Whose drive it is, and its room.

    Raises:
        SecretUnreadable: There is no key to seal with.
    """
    sealed = open_box(settings).seal(tokens.encode(), purpose=SEAL_PURPOSE)
    with database_errors(), engine.begin() as connection:
        write_sealed(connection, sealed, account=None)
        forget_folder(connection)
        append_event(connection, event)
    with open_drive(settings, engine, execution=Execution()) as store:
        quota = store.read_quota()
    with database_errors(), engine.begin() as connection:
        note_account(connection, quota.account)
    return quota


def seal_credentials(settings: Settings, engine: Engine, *, event: AuditEvent) -> str:
    """Move the application's credentials into k9ops' own table, sealed; or seal what is there with the newest key.

    The application cannot use Drive itself afterwards: its column is empty.

    Args:
        settings: The key.
        engine: The database.
        event: For the audit: who seals, from where and why.

    Returns:
        What was done: `moved`, `resealed` or `unchanged`.

    Raises:
        SecretUnreadable: There is no key, or not the one that opens what is there.
        DriveNotConnected: There is nothing to seal.
        TransientError: The application wrote others at the same moment; nothing was changed.
    """
    box = open_box(settings)
    with database_errors(), engine.begin() as connection:
        plain = read_application_credentials(connection, inspect_application(connection))
        sealed = read_sealed(connection)
        if plain is not None:
            tokens = decode_tokens(plain)
            write_sealed(connection, box.seal(tokens.encode(), purpose=SEAL_PURPOSE), account=None)
            if not replace_application_credentials(connection, expected=plain, new=None):
                connection.rollback()
                raise TransientError("The application has just written other Drive credentials; try again.")
            append_event(connection, replace(event, after={"done": "moved"}))
            return "moved"
        if sealed is None:
            raise DriveNotConnected("There are no Drive credentials to seal.")
        opened = box.open(sealed.sealed, purpose=SEAL_PURPOSE)
        if box.is_current(sealed.sealed):
            return "unchanged"
        if replace_sealed(connection, expected=sealed.sealed, new=box.seal(opened, purpose=SEAL_PURPOSE)):
            append_event(connection, replace(event, after={"done": "resealed"}))
        return "resealed"


def disconnect(settings: Settings, engine: Engine, *, event: AuditEvent) -> Disconnection:
    """Take the consent back at Google, then forget it here; what is on Drive stays there.

    Args:
        settings: The key.
        engine: The database.
        event: For the audit: who disconnects, from where and why.

    Raises:
        DriveNotConnected: There is none; or it is a service account's, which only its file takes away.
        DriveUnavailable: Google does not answer; nothing was changed.
    """
    found = find_credentials(settings, engine)
    if found.tokens is None:
        raise DriveNotConnected("A service account is in use: remove K9OPS_DRIVE_SERVICE_ACCOUNT instead.")
    is_revoked = revoke(found.tokens, timeout_s=float(settings.drive_timeout_s))
    _forget(engine, found, replace(event, before={"credentials": found.origin}, after={"is_revoked": is_revoked}))
    return Disconnection(found.origin, is_revoked)


def _forget(engine: Engine, found: FoundCredentials, event: AuditEvent) -> None:
    assert found.tokens is not None  # noqa: S101 - the caller has looked
    with database_errors(), engine.begin() as connection:
        if read_sealed(connection) is not None:
            delete_sealed(connection)
        plain = read_application_credentials(connection, inspect_application(connection))
        if plain is not None and _is_same_consent(plain, found.tokens):
            replace_application_credentials(connection, expected=plain, new=None)
        forget_folder(connection)
        append_event(connection, event)


def _is_same_consent(plain: str, tokens: UserTokens) -> bool:
    try:
        return decode_tokens(plain).refresh_token == tokens.refresh_token
    except DriveNotConnected:
        return False
