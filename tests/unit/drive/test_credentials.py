import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from k9ops.drive.credentials import UserTokens, check_address, decode_tokens, merge_tokens, service_credentials
from k9ops.errors import DriveNotConnected

DOCUMENT = {
    "token": "a",
    "refresh_token": "r",
    "token_uri": "https://oauth2.googleapis.com/token",
    "client_id": "c",
    "client_secret": "s",
    "scopes": ["https://www.googleapis.com/auth/drive.file"],
    "expiry": "2026-11-25T12:00:00.500000",
}


def test_tokens_of_the_application_are_read_and_written_in_its_form() -> None:
    tokens = decode_tokens(json.dumps(DOCUMENT))
    assert tokens.expiry == datetime(2026, 11, 25, 12, 0, 0, 500_000, UTC)
    assert json.loads(tokens.encode()) == DOCUMENT


@pytest.mark.parametrize("text", ["2026-11-25T12:00:00Z", "2026-11-25T15:00:00+03:00", "2026-11-25 12:00:00"])
def test_expiry_is_utc_however_it_is_written(text: str) -> None:
    tokens = decode_tokens(json.dumps(DOCUMENT | {"expiry": text}))
    assert tokens.expiry == datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert json.loads(tokens.encode())["expiry"] == "2026-11-25T12:00:00"


def test_expiry_of_another_zone_is_written_as_utc() -> None:
    moment = datetime(2026, 11, 25, 15, tzinfo=timezone(timedelta(hours=3)))
    tokens = UserTokens("a", "r", "https://h/token", "c", "s", (), moment)
    assert json.loads(tokens.encode())["expiry"] == "2026-11-25T12:00:00"
    assert tokens.for_google().expiry == datetime(2026, 11, 25, 12)  # noqa: DTZ001 - as Google's library wants it


def test_merge_keeps_what_else_the_application_stored() -> None:
    old = DOCUMENT | {"account": "k9", "scopes": ["another"]}
    new = decode_tokens(json.dumps(DOCUMENT | {"token": "b"}))
    merged = json.loads(merge_tokens(json.dumps(old), new))
    assert (merged["token"], merged["account"]) == ("b", "k9")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '"text"', json.dumps({**DOCUMENT, "refresh_token": None}), json.dumps({"token": "a"}),
     json.dumps({**DOCUMENT, "expiry": "soon"}), json.dumps({**DOCUMENT, "token_uri": "http://h/token"})],
)  # fmt: skip
def test_unusable_tokens_are_told_without_their_content(text: str) -> None:
    with pytest.raises(DriveNotConnected) as caught:
        decode_tokens(text)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_tokens_show_nothing_when_printed() -> None:
    assert repr(decode_tokens(json.dumps(DOCUMENT))) == "UserTokens(…)"


@pytest.mark.parametrize("text", ["{}", "no", '{"token_uri": "https://h/"}', '{"token_uri": "ftp://h/"}'])
def test_service_account_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DriveNotConnected):
        service_credentials(text)


def test_secrets_go_over_tls_or_stay_here() -> None:
    for url in ("https://oauth2.googleapis.com/token", "http://127.0.0.1:80/token", "http://localhost/token"):
        check_address(url)
    for url in ("http://example.org/", "http://127.0.0.1.example.org/", "file:///etc", ""):
        with pytest.raises(DriveNotConnected):
            check_address(url)
