"""Check of the mail server: connected, encrypted, the password known; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.cli.checks.finding import Finding
from k9ops.config.settings import Settings
from k9ops.mail import find_server, open_session


def check_mail(settings: Settings) -> Iterator[Finding]:
    """Check the server where one is set.

    Raises:
        K9opsError: It does not work; says why.
    """
    if not settings.smtp_url.get_secret_value():
        yield Finding("mail", "ok", "No mail server is set; no report goes by e-mail.")
        return
    server = find_server(settings)
    with open_session(settings) as session:
        session.noop()
    words = {"tls": "TLS", "starttls": "STARTTLS", "none": "no encryption"}[server.security]
    user = "" if server.user is None else ", its user and password hold"
    yield Finding("mail", "ok", f"{server.host}:{server.port} answers with {words}{user}.")
