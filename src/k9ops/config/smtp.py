"""The URL of a mail server, and addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_MAX_ADDRESS_CHARS = 254  # RFC 5321, 4.5.3.1
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """Where mail goes, from `K9OPS_SMTP_URL`.

    Attributes:
        host: Name or address.
        port: TCP port.
        security: `tls` from the first byte, `starttls`, or `none`.
        user: None without authentication.
        password: Its password.
    """

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    user: str | None = None
    password: str = field(default="", repr=False)


def parse_smtp_url(text: str) -> MailServer:
    """Return the server of a URL: `smtp://user:password@host:587`, or `smtps://`.

    STARTTLS is required with `smtp`, but for this machine itself and with `?starttls=off`.

    Raises:
        ValueError: Says what it must be; never shows the URL.
    """
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must look like smtp://user:password@host:587 or smtps://user:password@host")
    query = parse_qs(parts.query)
    if set(query) - {"starttls"} or query.get("starttls", ["on"])[-1] not in ("on", "off"):
        raise ValueError("knows no option but starttls=on and starttls=off")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("has no valid port") from None
    wanted = query.get("starttls", ["off" if _is_this_machine(parts.hostname) else "on"])[-1]
    security: Literal["tls", "starttls", "none"] = "starttls" if wanted == "on" else "none"
    if parts.scheme == "smtps":
        security = "tls"
    user = unquote(parts.username) if parts.username else None
    return MailServer(parts.hostname, port, security, user, unquote(parts.password or ""))


def check_address(text: str) -> str:
    """Return an address, ASCII as SMTP without extensions takes it.

    Raises:
        ValueError: It is none.
    """
    if len(text) > _MAX_ADDRESS_CHARS or not _ADDRESS.fullmatch(text) or ".." in text:
        raise ValueError(f"{text!r} is no e-mail address such as name@example.org")
    return text


def split_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
