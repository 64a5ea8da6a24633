"""A real mail server on loopback that does what a test wants."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "k9", "p%40ss%2Fword"  # as they stand in a URL
_PLAIN_PASSWORD = b"p@ss/word"


@dataclass
class Mailbox:
    """What the server has taken, and how it behaves.

    Attributes:
        url: Without user and password.
        taken: Recipient and message, in order.
        rcpt_answers: Answer to RCPT by address, in place of accepting it.
        data_answer: Answer to the content, in place of taking it.
        drops_after_content: Takes the message and closes the connection without a word.
    """

    url: str = ""
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    rcpt_answers: dict[str, str] = field(default_factory=dict)
    data_answer: str | None = None
    drops_after_content: bool = False

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.rcpt_answers:
            return self.rcpt_answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data_answer is not None:
            return self.data_answer
        content = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        self.taken += [(address, cast(EmailMessage, content)) for address in envelope.rcpt_tos]
        if self.drops_after_content:
            cast(Any, server).transport.abort()
        return "250 taken"


@contextmanager
def running_mail_server(folder: Path, *, has_tls: bool = False, has_users: bool = False) -> Iterator[Mailbox]:
    """Run a server during the block; with TLS, `folder / "cert.pem"` is what a client must trust."""
    box = Mailbox()
    options: dict[str, Any] = {}
    if has_tls:
        options["tls_context"] = _make_tls(folder)
    if has_users:
        options |= {"authenticator": _check_user, "auth_required": True, "auth_require_tls": has_tls}
    controller = Controller(box, hostname="127.0.0.1", port=_free_port(), **options)
    controller.start()
    box.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield box
    finally:
        controller.stop()


def _check_user(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    given = cast(LoginPassword, data)
    return AuthResult(success=(given.login, given.password) == (USER.encode(), _PLAIN_PASSWORD), handled=False)


def _make_tls(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "cert.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, folder / "key.pem")
    return context


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
