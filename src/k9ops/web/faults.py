"""What kind of error a run ended with, in a sentence for who does not read English.

The message itself says more, but in English where the catalogue does not have it; the page then shows both.
"""

from __future__ import annotations

import re

_DATABASE = "The database does not answer, or refused."
_DATABASE_UNFIT = "The database is not as the service needs it."
_BROKER = "The message broker does not answer, or refused."
_DRIVE = "Google Drive does not answer, or is busy."
_DRIVE_ACCESS = "Google Drive is not connected, or refuses access."
_DRIVE_FULL = "There is no room left on Google Drive."
_DRIVE_FILES = "What is on Google Drive is not as it should be."
_DISK = "The disk is full."
_FILES = "A file cannot be read or written, or changed meanwhile."
_TIME = "The time limit was exceeded."
_MEMORY = "There was too little memory."
_SETTINGS = "A setting is wrong or missing."
_PARAMS = "The request is not possible with these values."
_UNKNOWN = "What was asked for does not exist."
_STATE = "This is not possible in its present state."
_BACKUP = "The backup is damaged, or is not as it was written."
_KEY = "The key for the encrypted data is missing or does not fit."
_PROGRAMS = "The database's backup program is missing or failed."
_REPORT = "The report could not be made."
_REPORT_SIZE = "The report is too large."
_DELIVERY = "The report could not be delivered."
_MAIL = "The mail server does not answer, or refused."
_WORKER = "The worker ended in the middle of its work."
_STOPPED = "The work was stopped before its end."
_NETWORK = "A server did not answer."
_NO_PROOF = "The job did not prove that it worked."
_ACCESS = "You may not do this."
_ALERT = "The alert could not be delivered."
_PROGRAM = "An error in the program; the details are for its developers."

#: Names of classes: those of `errors.py`, those that the ledger writes, and frequent ones of libraries.
KINDS: dict[str, str] = {
    "SettingsInvalid": _SETTINGS,
    "MailNotConfigured": _SETTINGS,
    "PolicyInvalid": _SETTINGS,
    "DatabaseUnavailable": _DATABASE,
    "OperationalError": _DATABASE,
    "InterfaceError": _DATABASE,
    "DBAPIError": _DATABASE,
    "InternalError": _DATABASE,
    "DatabaseInvalid": _DATABASE_UNFIT,
    "ProgrammingError": _DATABASE_UNFIT,
    "IntegrityError": _DATABASE_UNFIT,
    "DataError": _DATABASE_UNFIT,
    "BrokerUnavailable": _BROKER,
    "RedisError": _BROKER,
    "BusyLoadingError": _BROKER,
    "ResponseError": _BROKER,
    "RunInterrupted": _STOPPED,
    "TimeLimitExceeded": _TIME,
    "WorkerLost": _WORKER,
    "poison": "Its worker ended each time; it is not tried again.",
    "OutcomeMissing": _NO_PROOF,
    "OutcomeInvalid": _NO_PROOF,
    "OutcomeFailed": "The job says that it failed.",
    "PageUnknown": _UNKNOWN,
    "RunNotFound": _UNKNOWN,
    "JobUnknown": _UNKNOWN,
    "ScheduleUnknown": _UNKNOWN,
    "QueueUnknown": _UNKNOWN,
    "BackupNotFound": _UNKNOWN,
    "ReportUnknown": _UNKNOWN,
    "ArtefactNotFound": _UNKNOWN,
    "SubscriptionUnknown": _UNKNOWN,
    "RunStateConflict": _STATE,
    "SubscriptionConflict": _STATE,
    "UploadBusy": _STATE,
    "ParamsInvalid": _PARAMS,
    "RecipientInvalid": _PARAMS,
    "AccountInvalid": _PARAMS,
    "BackupDamaged": _BACKUP,
    "VerificationFailed": _BACKUP,
    "ArtefactDamaged": _FILES,
    "FileChanged": _FILES,
    "FileNotFoundError": _FILES,
    "PermissionError": _FILES,
    "OSError": _FILES,
    "DiskFull": _DISK,
    "KeyUnsuitable": _KEY,
    "SecretUnreadable": _KEY,
    "ClientUnsuitable": _PROGRAMS,
    "ClientFailed": _PROGRAMS,
    "ReportUnavailable": _REPORT,
    "GlyphMissing": _REPORT,
    "RendererMissing": _REPORT,
    "RenderingFailed": _REPORT,
    "ViewerFailed": _REPORT,
    "ReportTooLarge": _REPORT_SIZE,
    "DeliveryRefused": _DELIVERY,
    "MailRefused": _MAIL,
    "MailUncertain": _MAIL,
    "MailUnavailable": _MAIL,
    "DriveUnavailable": _DRIVE,
    "DriveLimited": _DRIVE,
    "DriveSessionGone": _DRIVE,
    "DriveNotConnected": _DRIVE_ACCESS,
    "DriveAccessRevoked": _DRIVE_ACCESS,
    "DriveRefused": _DRIVE_ACCESS,
    "DriveQuotaExceeded": _DRIVE_FULL,
    "DriveCopyDiffers": _DRIVE_FILES,
    "DriveFolderMissing": _DRIVE_FILES,
    "DriveFileMissing": _DRIVE_FILES,
    "DriveFileExists": _DRIVE_FILES,
    "AccessDenied": _ACCESS,
    "AlertUndelivered": _ALERT,
    "EmbeddedServerFailed": _DATABASE,
    "MemoryError": _MEMORY,
    "MemoryLimitExceeded": _MEMORY,
    "ClientMemoryExceeded": _MEMORY,
    "TimeoutError": _NETWORK,
    "ConnectionError": _NETWORK,
    "ConnectionRefusedError": _NETWORK,
    "ConnectionResetError": _NETWORK,
    "BrokenPipeError": _NETWORK,
    "ReadTimeout": _NETWORK,
    "ConnectTimeout": _NETWORK,
    "gaierror": _NETWORK,
    "SSLError": _NETWORK,
}
_FULL_DISK = re.compile(r"\[Errno (?:28|122)\]|No space left on device|DiskFull")


def name_kind(error_class: str, message: str) -> str:
    """Return what kind of error it was, an English text of the catalogue.

    Args:
        error_class: Name of the class, as the ledger has it.
        message: What it said; a full disk has no class of its own everywhere.
    """
    if _FULL_DISK.search(message) and KINDS.get(error_class) in (_FILES, _DATABASE, None):
        return _DISK
    return KINDS.get(error_class, _PROGRAM)
