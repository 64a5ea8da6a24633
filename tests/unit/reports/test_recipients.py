from __future__ import annotations

import pytest

from k9ops.config.smtp import parse_smtp_url
from k9ops.errors import RecipientInvalid
from k9ops.reports.recipients import parse_recipient, parse_recipients


@pytest.mark.parametrize("text", ["drive", "folder:a", "folder:weekly/unit 1", "folder:تقارير", "a.b+c@example.org"])
def test_recipient_is_read_and_written_alike(text: str) -> None:
    assert str(parse_recipient(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "Drive", "folder:", "folder:/etc", "folder:../x", "folder:a/../b", "folder:a//b", "folder:.hidden",
        "no address", "a@b@c", "a@example.org\nBcc: x@y.z", "a@example.org ", "a..b@example.org", f"{'a' * 250}@b.org",
    ],
)  # fmt: skip
def test_text_that_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(RecipientInvalid):
        parse_recipient(text)


def test_recipients_are_taken_once_each() -> None:
    assert [str(item) for item in parse_recipients(["drive", "a@b.org", "drive"])] == ["drive", "a@b.org"]
    with pytest.raises(RecipientInvalid):
        parse_recipients("drive")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", ("mail.example.org", 587, "starttls", None, "")),
        ("smtp://u%40x:p%2F@mail.example.org:25?starttls=off", ("mail.example.org", 25, "none", "u@x", "p/")),
        ("smtps://u:p@mail.example.org", ("mail.example.org", 465, "tls", "u", "p")),
        ("smtp://127.0.0.1:2525", ("127.0.0.1", 2525, "none", None, "")),
        ("smtp://localhost:2525?starttls=on", ("localhost", 2525, "starttls", None, "")),
    ],
)
def test_smtp_url_says_host_port_and_security(url: str, expected: tuple[object, ...]) -> None:
    server = parse_smtp_url(url)
    assert (server.host, server.port, server.security, server.user, server.password) == expected
    assert server.password == "" or f"'{server.password}'" not in repr(server)


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://x", "smtp://", "smtp://x:99999", "smtp://x/path", "smtp://x?tls=1"]
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must look like|knows no option|no valid port"):
        parse_smtp_url(url)
