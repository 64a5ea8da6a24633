"""Bringing a finished report to one recipient, so that a repetition brings no second one."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import Any

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.durable import disk_errors, fsync_folder, open_folder, open_partial, write_durably
from k9ops.errors import DeliveryRefused, MailRefused, MailUnavailable, MailUncertain, RecipientInvalid
from k9ops.mail import send
from k9ops.outcome import Execution, Outcome
from k9ops.reports.artefacts import SENDING_PREFIX, Artefact, load_artefact, open_artefact
from k9ops.reports.recipients import Recipient, parse_recipient

_LOG = get_logger("k9ops.reports")
_TYPES = {
    "pdf": ("application", "pdf"),
    "xlsx": ("application", "vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "csv": ("text", "csv"),
}
_BYTES_PER_MB = 1_000_000

#: Uploads a file under a name and returns the evidence; wired by the actor, for this room knows no drive.
Upload = Callable[[Path, str, Execution], dict[str, Any]]


def deliver(settings: Settings, *, execution: Execution, artefact_id: str, recipient: str, upload: Upload) -> Outcome:
    """Deliver a finished report.

    Args:
        settings: Folder of reports, mail server, folder of deliveries.
        execution: Its run marks an e-mail that is being sent.
        artefact_id: Id of a finished report.
        recipient: As `parse_recipient`.
        upload: To Google Drive.

    Raises:
        ArtefactNotFound: The report is gone.
        RecipientInvalid: The text names no place, or one that the settings do not allow.
        DeliveryRefused: Another file of this name is there, or the report is too large.
        K9opsError: As `send` and `upload`.
    """
    place = parse_recipient(recipient)
    artefact = load_artefact(settings.reports_dir, artefact_id)
    evidence: dict[str, Any] = {"artefact_id": artefact.artefact_id, "kind": place.kind, "sha256": artefact.sha256}
    if place.kind == "folder":
        evidence |= _copy(settings, artefact, place)
    elif place.kind == "drive":
        with open_artefact(settings.reports_dir, artefact):  # its digest is checked
            # Short and Latin: a note on Drive has room for 124 bytes.
            name = f"{artefact.report}-{artefact.file_name}"
            evidence |= upload(settings.reports_dir / artefact.file_name, name, execution)
    else:
        evidence |= _mail(settings, artefact, place, run_id=execution.run_id)
    _LOG.info("report.delivered", artefact_id=artefact.artefact_id, report=artefact.report, kind=place.kind)
    # An address is a person's: the run's parameters have it, a log must not.
    where = {"mail": "sent by e-mail", "folder": f"in {place}", "drive": "on Google Drive"}[place.kind]
    return Outcome("succeeded", f"Report {artefact.report} ({artefact.format}) is {where}.", evidence)


def make_file_name(artefact: Artefact) -> str:
    """Return the name of a report outside of the folder of reports: its title, day and id, safe in any file system."""
    title = "".join(letter if letter.isalnum() or letter in " -" else " " for letter in artefact.title)
    day, _, rest = artefact.artefact_id.partition("T")
    return f"{' '.join(title.split())[:80]} {day[:4]}-{day[4:6]}-{day[6:]} {rest.rpartition('-')[2]}.{artefact.format}"


def _copy(settings: Settings, artefact: Artefact, place: Recipient) -> dict[str, Any]:
    root = settings.report_delivery_dir
    if root is None:
        raise RecipientInvalid(f"{place}: no folder is allowed; set K9OPS_REPORT_DELIVERY_DIR.")
    folder = open_folder(root) / place.target
    if not folder.resolve().is_relative_to(root.resolve()):
        raise RecipientInvalid(f"{place}: it leads out of K9OPS_REPORT_DELIVERY_DIR.")
    with disk_errors():
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / make_file_name(artefact)
    if path.exists():
        with path.open("rb") as found:
            if hashlib.file_digest(found, "sha256").hexdigest() == artefact.sha256:
                return {"path": str(path)}
        raise DeliveryRefused(f"{path} is there already and is another file; it stays as it is.")
    temporary = path.with_name(f".{path.name}.partial")
    with open_artefact(settings.reports_dir, artefact) as source, disk_errors(), open_partial(temporary) as target:
        shutil.copyfileobj(source, target)
        target.flush()
        temporary.chmod(0o640)
        temporary.rename(path)
    fsync_folder(folder)
    return {"path": str(path)}


def _mail(settings: Settings, artefact: Artefact, place: Recipient, *, run_id: uuid.UUID) -> dict[str, Any]:
    """Send an e-mail at most once.

    A mark on disk stands from before the content goes until the server has refused it. An attempt that finds one does
    not know whether the mail arrived: it takes the mark away and fails, so that only a person sends it again.
    """
    limit_mb = settings.report_max_mail_mb
    if artefact.size_bytes > limit_mb * _BYTES_PER_MB:
        raise DeliveryRefused(
            f"The report has {artefact.size_bytes / _BYTES_PER_MB:.1f} MB, and K9OPS_REPORT_MAX_MAIL_MB allows"
            f" {limit_mb}: deliver it to a folder or to Drive."
        )
    mark = settings.reports_dir / f"{SENDING_PREFIX}{run_id}"
    if mark.exists():
        mark.unlink()
        raise _uncertain("the worker died while it was being sent")
    message = write_message(settings, artefact, run_id=run_id)
    try:
        answer = send(settings, message, to=place.target, before_content=lambda: write_durably(mark, b""))
    except (MailRefused, MailUnavailable):
        mark.unlink(missing_ok=True)
        raise
    except MailUncertain:
        mark.unlink(missing_ok=True)
        raise _uncertain("the connection ended before the server's answer") from None
    return {"message_id": str(message["Message-ID"]), "answer": answer.replace(place.target, "the recipient")}


def write_message(settings: Settings, artefact: Artefact, *, run_id: uuid.UUID) -> EmailMessage:
    """Return the e-mail of a report, without sender and recipient."""
    message = EmailMessage()
    message["Subject"] = f"{artefact.title} | {artefact.report}"
    message["Date"] = formatdate()
    domain = parseaddr(settings.smtp_from)[1].rpartition("@")[2]
    message["Message-ID"] = f"<{run_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply to a machine
    message.set_content(
        f"{settings.unit_name_ar}\n"
        f"مرفق: {artefact.title} ({artefact.format.upper()})، عدد السجلات: {artefact.row_count}.\n\n"
        f"{settings.unit_name_en}\n"
        f"Attached: report {artefact.report} ({artefact.format.upper()}), {artefact.row_count} rows.\n"
    )
    with open_artefact(settings.reports_dir, artefact) as file:
        main, sub = _TYPES[artefact.format]
        message.add_attachment(file.read(), maintype=main, subtype=sub, filename=make_file_name(artefact))
    return message


def _uncertain(why: str) -> MailUncertain:
    return MailUncertain(
        f"Nobody knows whether the e-mail has arrived: {why}. It is not sent again by itself; `k9ops runs retry` does."
    )
