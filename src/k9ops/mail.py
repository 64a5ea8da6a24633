"""E-mail by SMTP: one message to one address, and an honest word about whether the server has taken it."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from k9ops.config.settings import Settings
from k9ops.config.smtp import MailServer, parse_smtp_url
from k9ops.errors import MailNotConfigured, MailRefused, MailUnavailable, MailUncertain

_PERMANENT = 500


def find_server(settings: Settings) -> MailServer:
    """Return the server of the settings.

    Raises:
        MailNotConfigured: There is none, or no sender.
    """
    url = settings.smtp_url.get_secret_value()
    if not url or not settings.smtp_from:
        raise MailNotConfigured("No e-mail can be sent: set K9OPS_SMTP_URL and K9OPS_SMTP_FROM.")
    return parse_smtp_url(url)


@contextmanager
def open_session(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Give a session that is encrypted and authenticated as the settings say.

    Raises:
        MailNotConfigured: As `find_server`.
        MailRefused: The server does not encrypt, or does not know the user or the password.
        MailUnavailable: It does not answer, or not now.
    """
    server = find_server(settings)
    with _errors(server):
        session = _connect(server, timeout_s=float(settings.smtp_timeout_s))
    try:
        with _errors(server):
            if server.security == "starttls":
                if not session.has_extn("starttls"):
                    raise MailRefused(
                        f"The mail server {server.host} offers no STARTTLS, and a password is not sent in clear text:"
                        " use smtps://, or ?starttls=off in K9OPS_SMTP_URL where the network is your own."
                    )
                session.starttls(context=ssl.create_default_context())
                session.ehlo_or_helo_if_needed()
            if server.user is not None:
                session.login(server.user, server.password)
        yield session
    finally:
        session.close()


def send(settings: Settings, message: EmailMessage, *, to: str, before_content: Callable[[], None]) -> str:
    """Send a message to one address.

    Args:
        settings: Server, sender, time limit.
        message: Whole, but for `From` and `To`.
        to: The address.
        before_content: Called just before the content goes: until then the server has taken nothing for certain.

    Returns:
        What the server answered when it took the message.

    Raises:
        MailRefused: The server will not take it, now or later.
        MailUnavailable: It has not taken it; it may later.
        MailUncertain: The connection ended after the content was sent and before the answer.
        MailNotConfigured: As `find_server`.
    """
    server = find_server(settings)
    sender = parseaddr(settings.smtp_from)[1]
    message["From"] = settings.smtp_from
    message["To"] = to
    content = message.as_bytes(policy=SMTP)
    with open_session(settings) as session:
        with _errors(server):
            session.ehlo_or_helo_if_needed()
            options = [f"size={len(content)}"] if session.has_extn("size") else []
            _expect(session.mail(sender, options), to)
            _expect(session.rcpt(to), to)
        before_content()
        try:
            code, answer = session.data(content)
        except smtplib.SMTPDataError as exc:  # it did not want the content
            raise _refusal(exc.smtp_code, exc.smtp_error, to) from exc
        except (smtplib.SMTPServerDisconnected, OSError) as exc:
            raise MailUncertain(
                f"The connection to {server.host} ended before it said whether it takes the message."
            ) from exc
        _expect((code, answer), to)
        with suppress(smtplib.SMTPException, OSError):
            session.quit()
        return answer.decode(errors="replace")


def _connect(server: MailServer, *, timeout_s: float) -> smtplib.SMTP:
    if server.security == "tls":
        context = ssl.create_default_context()
        session: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=context)
    else:
        session = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    session.ehlo_or_helo_if_needed()
    return session


@contextmanager
def _errors(server: MailServer) -> Iterator[None]:
    """Turn errors of a conversation in which no content has gone into those of k9ops."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as exc:
        raise MailRefused(
            f"The mail server {server.host} does not accept the user and password of K9OPS_SMTP_URL.",
            code=exc.smtp_code,
        ) from None  # its text may hold what was sent
    except smtplib.SMTPNotSupportedError as exc:
        raise MailRefused(f"The mail server {server.host} offers no authentication on this connection.") from exc
    except ssl.SSLCertVerificationError as exc:
        raise MailRefused(
            f"The certificate of the mail server {server.host} is not trusted: {exc.verify_message}."
        ) from exc
    except smtplib.SMTPResponseException as exc:
        error = MailRefused if exc.smtp_code >= _PERMANENT else MailUnavailable
        raise error(f"The mail server {server.host} answered {exc.smtp_code}.", code=exc.smtp_code) from None
    except (smtplib.SMTPException, OSError) as exc:
        raise MailUnavailable(
            f"The mail server {server.host}:{server.port} does not answer.", problem=type(exc).__name__
        ) from exc


def _expect(reply: tuple[int, bytes], to: str) -> None:
    code, answer = reply
    if not 200 <= code < 300:
        raise _refusal(code, answer, to)


def _refusal(code: int, answer: bytes | str, to: str) -> MailRefused | MailUnavailable:
    """Return an error with the server's words, but without the address: it ends in the log."""
    words = answer if isinstance(answer, str) else answer.decode(errors="replace")
    words = re.sub(re.escape(to), "the recipient", words, flags=re.IGNORECASE)
    error = MailRefused if code >= _PERMANENT else MailUnavailable
    return error(f"The mail server does not take the message: {code} {words}", code=code)
