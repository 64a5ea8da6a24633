"""A finished report on its way to a mail server, a folder and a drive."""

from __future__ import annotations

import hashlib
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.integration.reports.conftest import Unit
from tests.mail_server import PASSWORD, USER, Mailbox, running_mail_server

from k9ops.cli.checks.mail import check_mail
from k9ops.errors import (
    DeliveryRefused,
    K9opsError,
    MailNotConfigured,
    MailRefused,
    MailUnavailable,
    MailUncertain,
    RecipientInvalid,
)
from k9ops.outcome import Execution, Outcome
from k9ops.reports.artefacts import Artefact
from k9ops.reports.delivery import deliver

CHIEF = "chief@example.org"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Mailbox]:
    with running_mail_server(tmp_path) as box:
        yield box


def with_mail(unit: Unit, url: str, **changes: object) -> Unit:
    return unit.with_settings(smtp_url=SecretStr(url), smtp_from="وحدة الكلاب <k9@example.org>", **changes)


def no_drive(path: Path, name: str, execution: Execution) -> dict[str, Any]:
    raise AssertionError("nothing goes to a drive here")


def bring(unit: Unit, artefact: Artefact, recipient: str, *, run_id: uuid.UUID | None = None) -> Outcome:
    execution = Execution(run_id=run_id or uuid.uuid4())
    return deliver(
        unit.settings, execution=execution, artefact_id=artefact.artefact_id, recipient=recipient, upload=no_drive
    )


def marks(unit: Unit) -> list[Path]:
    return list(unit.settings.reports_dir.glob(".sending-*"))


@pytest.mark.parametrize("kind", ["pdf", "xlsx", "csv"])
def test_mail_goes_encrypted_and_authenticated_with_the_report_attached(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run_id = uuid.uuid4()
    with running_mail_server(tmp_path, has_tls=True, has_users=True) as box:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        url = box.url.replace("smtp://", f"smtp://{USER}:{PASSWORD}@") + "?starttls=on"
        ready = with_mail(unit, url)
        artefact, content = ready.make("dogs", format=kind)
        outcome = bring(ready, artefact, CHIEF, run_id=run_id)
        (finding,) = check_mail(ready.settings)
    ((recipient, message),) = box.taken
    (attachment,) = message.iter_attachments()
    assert (recipient, outcome.evidence["answer"]) == (CHIEF, "taken")
    assert attachment.get_payload(decode=True) == content
    assert attachment.get_filename() == f"سجل الكلاب 2026-11-24 {artefact.artefact_id[-8:]}.{kind}"
    assert message["Message-ID"] == f"<{run_id}@example.org>"
    assert "سجل الكلاب" in message["Subject"]
    assert message["From"].addresses[0].display_name == "وحدة الكلاب"
    body = message.get_body()
    assert body is not None
    assert "عدد السجلات: 60" in body.get_content()
    assert (finding.status, "STARTTLS, its user and password hold" in finding.message) == ("ok", True)


def test_password_that_is_wrong_is_refused_and_shown_nowhere(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_mail_server(tmp_path, has_tls=True, has_users=True) as box:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        ready = with_mail(unit, box.url.replace("smtp://", "smtp://k9:hunter22@") + "?starttls=on")
        artefact, _ = ready.make("dogs", format="csv")
        with pytest.raises(MailRefused, match="does not accept the user and password") as caught:
            bring(ready, artefact, CHIEF)
    assert "hunter22" not in f"{caught.value} {caught.value.user_message} {vars(caught.value)}"
    assert not box.taken
    assert not marks(ready)


def test_certificate_that_nobody_vouches_for_is_refused(unit: Unit, tmp_path: Path) -> None:
    with running_mail_server(tmp_path, has_tls=True) as box:
        ready = with_mail(unit, f"{box.url}?starttls=on")
        artefact, _ = ready.make("dogs", format="csv")
        with pytest.raises(MailRefused, match="is not trusted"):
            bring(ready, artefact, CHIEF)


def test_server_without_starttls_gets_nothing(unit: Unit, box: Mailbox) -> None:
    ready = with_mail(unit, f"{box.url}?starttls=on")
    artefact, _ = ready.make("dogs", format="csv")
    with pytest.raises(MailRefused, match="offers no STARTTLS"):
        bring(ready, artefact, CHIEF)
    assert not box.taken


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"rcpt_answers": {CHIEF: "550 no such user"}}, MailRefused),
        ({"rcpt_answers": {CHIEF: "450 later"}}, MailUnavailable),
        ({"data_answer": "554 refused"}, MailRefused),
        ({"data_answer": "451 later"}, MailUnavailable),
    ],
)
def test_mail_that_the_server_did_not_take_may_be_sent_again(
    unit: Unit, box: Mailbox, answers: dict[str, Any], error: type[K9opsError]
) -> None:
    ready, run_id = with_mail(unit, box.url), uuid.uuid4()
    artefact, _ = ready.make("dogs", format="csv")
    for name, value in answers.items():
        setattr(box, name, value)
    with pytest.raises(error, match=r"does not take the message: [45]"):
        bring(ready, artefact, CHIEF, run_id=run_id)
    assert not marks(ready)
    box.rcpt_answers, box.data_answer = {}, None
    bring(ready, artefact, CHIEF, run_id=run_id)
    assert len(box.taken) == 1


def test_mail_whose_fate_is_unknown_is_not_sent_again_by_itself(unit: Unit, box: Mailbox) -> None:
    ready = with_mail(unit, box.url)
    artefact, _ = ready.make("dogs", format="csv")
    box.drops_after_content = True
    with pytest.raises(MailUncertain, match="Nobody knows whether the e-mail"):
        bring(ready, artefact, CHIEF)
    assert len(box.taken) == 1


def test_worker_that_died_after_sending_leaves_a_mark_that_stops_the_next_attempt(unit: Unit, box: Mailbox) -> None:
    ready, run_id = with_mail(unit, box.url), uuid.uuid4()
    artefact, _ = ready.make("dogs", format="csv")
    bring(ready, artefact, CHIEF, run_id=run_id)  # and its outcome was never recorded
    with pytest.raises(MailUncertain, match="the worker died while it was being sent"):
        bring(ready, artefact, CHIEF, run_id=run_id)
    assert len(box.taken) == 1
    bring(ready, artefact, CHIEF, run_id=run_id)  # a person has asked for it
    assert len(box.taken) == 2
    assert len({message["Message-ID"] for _, message in box.taken}) == 1


def test_mail_needs_a_server_and_a_report_that_is_small_enough(unit: Unit, box: Mailbox) -> None:
    artefact, _ = unit.make("dogs", format="csv")
    with pytest.raises(MailNotConfigured, match="K9OPS_SMTP_URL and K9OPS_SMTP_FROM"):
        bring(unit, artefact, CHIEF)
    away = with_mail(unit, "smtp://127.0.0.1:1")
    with pytest.raises(MailUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        bring(away, artefact, CHIEF)
    large = with_mail(unit, box.url).with_settings(report_max_mail_mb=0)
    with pytest.raises(DeliveryRefused, match="K9OPS_REPORT_MAX_MAIL_MB"):
        bring(large, artefact, CHIEF)
    assert not box.taken


def test_folder_gets_the_file_once_and_never_loses_another(unit: Unit, tmp_path: Path) -> None:
    ready = unit.with_settings(report_delivery_dir=tmp_path / "out")
    artefact, content = ready.make("dogs", format="csv")
    outcome = bring(ready, artefact, "folder:weekly/unit 1")
    path = Path(outcome.evidence["path"])
    assert path == tmp_path / "out/weekly/unit 1" / f"سجل الكلاب 2026-11-24 {artefact.artefact_id[-8:]}.csv"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == artefact.sha256
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.stat().st_mtime_ns
    bring(ready, artefact, "folder:weekly/unit 1")
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"mine")
    with pytest.raises(DeliveryRefused, match="is another file"):
        bring(ready, artefact, "folder:weekly/unit 1")
    assert (path.read_bytes(), content != b"mine") == (b"mine", True)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_folder_must_be_allowed_and_lie_below(unit: Unit, tmp_path: Path) -> None:
    artefact, _ = unit.make("dogs", format="csv")
    with pytest.raises(RecipientInvalid, match="set K9OPS_REPORT_DELIVERY_DIR"):
        bring(unit, artefact, "folder:x")
    root = tmp_path / "out"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(RecipientInvalid, match="leads out"):
        bring(unit.with_settings(report_delivery_dir=root), artefact, "folder:link")
