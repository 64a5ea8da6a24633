"""The whole tree of errors.

`user_message` may be shown to a person: it holds no path, secret or traceback. `detail` is for the log.
"""

from __future__ import annotations

from typing import Any


class K9opsError(Exception):
    """Any error that k9ops raises on purpose."""

    def __init__(self, user_message: str, **detail: Any) -> None:
        super().__init__(user_message)
        self.user_message = user_message
        self.detail = detail


class TransientError(K9opsError):
    """Worth another attempt later: a server is away, a limit was hit.

    Args:
        user_message: What went wrong, for a person.
        retry_after_s: Seconds to wait before the next attempt; None takes the job's own backoff.
        **detail: For the log.
    """

    def __init__(self, user_message: str, *, retry_after_s: float | None = None, **detail: Any) -> None:
        super().__init__(user_message, **detail)
        self.retry_after_s = retry_after_s


class PermanentError(K9opsError):
    """Another attempt cannot help; a person must change something first."""


class SettingsInvalid(PermanentError):
    """A variable of the environment has a value that cannot be used."""


class DatabaseUnavailable(TransientError):
    """PostgreSQL does not answer, or refuses connections for now."""


class DatabaseInvalid(PermanentError):
    """PostgreSQL answers, but the database is not one that k9ops can work with."""


class BrokerUnavailable(TransientError):
    """The broker (Redis or RabbitMQ) does not answer, or refuses to take a message."""


class RunInterrupted(TransientError):
    """The run must stop before its end: a shutdown, a time limit, a lost lease or a person's wish.

    Args:
        user_message: Why, for a person.
        reason: `shutdown`, `time_limit`, `memory`, `lease_lost` or `cancelled`.
    """

    def __init__(self, user_message: str, *, reason: str, **detail: Any) -> None:
        super().__init__(user_message, reason=reason, **detail)
        self.reason = reason


class MemoryLimitExceeded(RunInterrupted):
    """A run took more memory than the settings allow a worker."""

    @classmethod
    def of(cls, used_mb: int, limit_mb: int) -> MemoryLimitExceeded:
        """Return the error for a worker process that had so much, or was refused more."""
        return cls(
            f"The run needs more memory than the {limit_mb} MB that K9OPS_WORKER_MEMORY_MB allows a worker process,"
            f" which had {used_mb} MB. Ask for less at a time, or allow it more.",
            reason="memory",
            used_mb=used_mb,
            limit_mb=limit_mb,
        )


class RunNotFound(PermanentError):
    """No run has this id."""


class RunStateConflict(PermanentError):
    """The run is in a state in which this cannot be asked of it."""


class JobUnknown(PermanentError):
    """No job has this name."""


class ScheduleUnknown(PermanentError):
    """The timetable has no schedule of this name."""


class QueueUnknown(PermanentError):
    """No job has a queue of this name, and no run waits in one."""


class ParamsInvalid(PermanentError):
    """The parameters of a job are not what it takes."""


class BackupNotFound(PermanentError):
    """No backup has this id."""


class BackupDamaged(PermanentError):
    """The archive or its manifest is not what was written."""


class KeyUnsuitable(PermanentError):
    """No private key at hand opens the backup, or what was given is none."""


class VerificationFailed(PermanentError):
    """A restored backup differs from its manifest."""


class ClientUnsuitable(PermanentError):
    """No pg_dump or pg_restore on this machine suits the server."""


class ClientFailed(TransientError):
    """pg_dump or pg_restore ended with an error."""


class ClientMemoryExceeded(PermanentError):
    """pg_dump or pg_restore needs more memory than the settings allow."""


class DiskFull(TransientError):
    """Too little room for what is about to be written."""


class ReportUnknown(PermanentError):
    """The catalogue has no report of this name."""


class ReportUnavailable(PermanentError):
    """This generation of the application lacks a table that the report reads."""


class ReportTooLarge(PermanentError):
    """The report has more rows or pages than the settings allow."""


class GlyphMissing(PermanentError):
    """A character of the report has no glyph in the fonts that it is set in."""


class ArtefactNotFound(PermanentError):
    """No finished report has this id."""


class ArtefactDamaged(PermanentError):
    """The file of a finished report is not what was written."""


class RendererMissing(PermanentError):
    """This machine lacks the library that sets PDF reports."""


class ViewerFailed(PermanentError):
    """The program that shows files could not show a report."""


class RenderingFailed(TransientError):
    """The process that renders ended, ran out of memory or took too long."""


class RecipientInvalid(PermanentError):
    """A report cannot be delivered there: the text names no place, or one that is not allowed."""


class DeliveryRefused(PermanentError):
    """The place of delivery has another file of this name, or the report is too large for it."""


class SubscriptionConflict(PermanentError):
    """There is a subscription of this name already."""


class SubscriptionUnknown(PermanentError):
    """There is no subscription of this name."""


class MailNotConfigured(PermanentError):
    """The settings name no mail server, or no sender."""


class MailRefused(PermanentError):
    """The mail server will not take the message, or does not know the user."""


class MailUncertain(PermanentError):
    """Nobody knows whether the mail server has taken the message."""


class MailUnavailable(TransientError):
    """The mail server does not answer, or takes nothing for now."""


class PolicyInvalid(PermanentError):
    """A retention policy that would keep nothing."""


class DriveUnavailable(TransientError):
    """Google Drive does not answer, or has a fault of its own."""


class DriveLimited(TransientError):
    """Google Drive takes no more requests for now."""


class UploadBusy(TransientError):
    """Another process uploads the same backup."""


class DriveSessionGone(TransientError):
    """Google Drive no longer knows a resumable upload; it starts over."""


class DriveCopyDiffers(TransientError):
    """What Google Drive stored is not what was sent; it was removed there."""


class DriveNotConnected(PermanentError):
    """There are no credentials for Google Drive."""


class DriveAccessRevoked(PermanentError):
    """Google no longer accepts the credentials."""


class DriveQuotaExceeded(PermanentError):
    """The account has too little room on Google Drive."""


class DriveFolderMissing(PermanentError):
    """The folder for backups was deleted on Google Drive, or is out of reach."""


class DriveFileMissing(PermanentError):
    """Google Drive has no file of this id, or not for these credentials."""


class DriveFileExists(PermanentError):
    """Google Drive has a file of this id already."""


class DriveRefused(PermanentError):
    """Google Drive refuses a request for a reason that another attempt does not change."""


class FileChanged(PermanentError):
    """A file changed while it was read."""


class AccountInvalid(PermanentError):
    """An account of the dashboard is unknown, exists already, or is not what it must be."""


class PageUnknown(PermanentError):
    """The dashboard has no page at this address."""


class AccessDenied(PermanentError):
    """The person has not entered, or may not do this."""


class SecretUnreadable(PermanentError):
    """A sealed value cannot be opened: the key is missing or another one, or the value was altered."""


class AlertUndelivered(TransientError):
    """A channel did not take a message."""


class EmbeddedServerFailed(PermanentError):
    """An embedded PostgreSQL or Valkey could not be started."""


def is_interrupt(error: BaseException) -> bool:
    """Tell whether a person interrupted, even where a library raised an error of its own in answer to that."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
