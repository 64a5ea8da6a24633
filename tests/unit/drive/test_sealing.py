import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k9ops.config.keys import decode_keys
from k9ops.drive.sealing import SecretBox
from k9ops.errors import SecretUnreadable

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


@given(plain=st.text())
def test_seal_and_open_give_back_any_text(plain: str) -> None:
    box = SecretBox([NEW])
    sealed = box.seal(plain, purpose="p")
    assert box.open(sealed, purpose="p") == plain
    assert sealed != box.seal(plain, purpose="p"), "a nonce is never used twice"
    if len(plain) > 8:
        assert plain not in sealed


def test_rotation_opens_what_the_old_key_sealed_and_seals_with_the_new_one() -> None:
    sealed = SecretBox([OLD]).seal("secret", purpose="p")
    both = SecretBox([NEW, OLD])
    assert both.open(sealed, purpose="p") == "secret"
    assert not both.is_current(sealed)
    again = both.seal("secret", purpose="p")
    assert both.is_current(again)
    assert SecretBox([NEW]).open(again, purpose="p") == "secret"
    with pytest.raises(SecretUnreadable, match="does not have"):
        SecretBox([OLD]).open(again, purpose="p")


def test_open_refuses_another_purpose_and_every_altered_character() -> None:
    box = SecretBox([NEW])
    sealed = box.seal("secret", purpose="p")
    with pytest.raises(SecretUnreadable):
        box.open(sealed, purpose="q")
    for position in range(len(sealed)):
        other = "B" if sealed[position] == "A" else "A"
        with pytest.raises(SecretUnreadable):
            box.open(sealed[:position] + other + sealed[position + 1 :], purpose="p")
    for text in ("", "k9ops1", "k9ops1..", "k9ops2.a.b", sealed[:-8], "plain"):
        with pytest.raises(SecretUnreadable):
            box.open(text, purpose="p")


def test_box_wants_keys_of_the_right_size() -> None:
    for keys in ([], [b"short"], [NEW, b""]):
        with pytest.raises(ValueError, match="32 bytes"):
            SecretBox(keys)


def test_decode_keys_reads_both_alphabets_and_refuses_the_rest() -> None:
    key = b"\xfb\xff" + os.urandom(30)
    standard, urlsafe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert decode_keys(f"{standard}, {urlsafe}") == (key, key)
    assert decode_keys("") == decode_keys("  ") == ()
    for text in ("x", "not base64!", standard[:-4], f"{standard},", base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError, match="not"):
            decode_keys(text)
