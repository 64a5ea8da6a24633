"""Exit codes of `k9ops`, and the one sentence that a person gets for an error."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import DBAPIError

from k9ops.config.logging import get_logger, mask_passwords
from k9ops.db.engine import is_unavailable
from k9ops.errors import (
    ArtefactNotFound,
    BackupNotFound,
    BrokerUnavailable,
    DatabaseInvalid,
    DatabaseUnavailable,
    DriveNotConnected,
    DriveUnavailable,
    JobUnknown,
    K9opsError,
    KeyUnsuitable,
    MailNotConfigured,
    ParamsInvalid,
    PolicyInvalid,
    QueueUnknown,
    RecipientInvalid,
    ReportUnavailable,
    ReportUnknown,
    RunNotFound,
    RunStateConflict,
    ScheduleUnknown,
    SecretUnreadable,
    SettingsInvalid,
    SubscriptionConflict,
    SubscriptionUnknown,
)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

_USAGE_ERRORS = (
    ArtefactNotFound,
    BackupNotFound,
    DatabaseInvalid,
    DriveNotConnected,
    JobUnknown,
    KeyUnsuitable,
    MailNotConfigured,
    ParamsInvalid,
    PolicyInvalid,
    RecipientInvalid,
    ReportUnavailable,
    ReportUnknown,
    RunNotFound,
    RunStateConflict,
    QueueUnknown,
    ScheduleUnknown,
    SubscriptionConflict,
    SubscriptionUnknown,
    SecretUnreadable,
    SettingsInvalid,
)
_UNAVAILABLE_ERRORS = (BrokerUnavailable, DatabaseUnavailable, DriveUnavailable)

_LOG = get_logger("k9ops.cli")


@dataclass(frozen=True)
class Failure:
    """What a command that went wrong says and returns.

    Attributes:
        message: For a person, without a traceback or a secret.
        exit_code: One of the codes above.
        kind: Name of the error's class, for a program.
    """

    message: str
    exit_code: int
    kind: str


def explain_failure(error: Exception) -> Failure:
    """Return what a person is told about an error; the traceback of a bug goes to the log at level debug."""
    kind = type(error).__name__
    if isinstance(error, SettingsInvalid):
        return Failure(error.user_message, EXIT_USAGE, kind)
    if isinstance(error, K9opsError):
        return Failure(mask_passwords(error.user_message), _exit_code(error), kind)
    if isinstance(error, DBAPIError):
        return _explain_database_error(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Failure(f"{place}{error.strerror or error}.", EXIT_FAILED, kind)
    _LOG.debug("cli.failed", exc_info=error)
    message = f"This is a fault in k9ops: {kind}: {error}. K9OPS_LOG_LEVEL=debug shows where."
    return Failure(mask_passwords(message), EXIT_BUG, kind)


def _exit_code(error: K9opsError) -> int:
    if isinstance(error, _USAGE_ERRORS):
        return EXIT_USAGE
    return EXIT_UNAVAILABLE if isinstance(error, _UNAVAILABLE_ERRORS) else EXIT_FAILED


def _explain_database_error(error: DBAPIError) -> Failure:
    kind = type(error.orig).__name__
    if is_unavailable(error):
        return Failure("PostgreSQL is not available.", EXIT_UNAVAILABLE, kind)
    words = str(error.orig).strip().splitlines()[0]
    if isinstance(error.orig, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        advice = " Run `k9ops db upgrade` to make the tables of k9ops." if "k9ops." in words else ""
        return Failure(f"PostgreSQL says: {words}.{advice}", EXIT_USAGE, kind)
    if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
        return Failure(f"The role in DATABASE_URL lacks a privilege: {words}.", EXIT_USAGE, kind)
    return Failure(f"PostgreSQL says: {words}.", EXIT_FAILED, kind)
