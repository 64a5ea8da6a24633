"""age in a stream: what is written opens again, what is altered does not, and no thread stays behind."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterable, Iterator

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k9ops.backups.channel import Channel, ChannelClosed
from k9ops.backups.encryption import AGE_HEADER, Encryptor, check_opens, decrypt
from k9ops.backups.keys import PrivateKeys, make_one_off_key
from k9ops.errors import BackupDamaged, DiskFull, KeyUnsuitable

KEYS = make_one_off_key()
CONTENT = random.Random(4).randbytes(300_000)  # noqa: S311 - the same content each time


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def encrypt(content: bytes, *keys: PrivateKeys, piece: int = 70_000) -> bytes:
    parts: list[bytes] = []
    recipients = [name for item in (keys or (KEYS,)) for name in item.public_keys]
    with contextlib.closing(Encryptor(recipients, parts.append)) as encryptor:
        for start in range(0, len(content), piece):
            encryptor.write(content[start : start + piece])
        encryptor.finish()
    return b"".join(parts)


def split(content: bytes, piece: int = 50_000) -> Iterator[bytes]:
    return (content[start : start + piece] for start in range(0, len(content), piece))


def collect(chunks: Iterable[bytes], parts: list[bytes]) -> None:
    for chunk in chunks:
        parts.append(chunk)


def collect_into(encryptor: Encryptor) -> None:
    for _ in range(100):
        encryptor.write(bytes(1 << 20))


def open_again(content: bytes, keys: PrivateKeys = KEYS) -> bytes:
    return b"".join(decrypt(split(content), keys))


@given(content=st.binary(max_size=200_000), piece=st.integers(1, 150_000))
def test_decrypt_yields_what_was_encrypted(content: bytes, piece: int) -> None:
    piece = max(piece, len(content) // 50)
    assert b"".join(decrypt(split(encrypt(content, piece=piece), piece), KEYS)) == content


def test_encrypted_stream_is_an_age_file_with_a_stanza_for_each_recipient() -> None:
    other = make_one_off_key()
    encrypted = encrypt(CONTENT, KEYS, other)
    header, _, _ = encrypted.partition(b"\n---")
    assert encrypted.startswith(AGE_HEADER)
    assert header.count(b"\n-> X25519 ") == 2
    for keys in (KEYS, other):
        assert pyrage.decrypt(encrypted, list(keys.identities)) == CONTENT
        assert open_again(encrypted, keys) == CONTENT
    assert CONTENT[:64] not in encrypted


def test_decrypt_refuses_another_key() -> None:
    with pytest.raises(KeyUnsuitable, match="does not open"):
        open_again(encrypt(CONTENT), make_one_off_key())
    with pytest.raises(KeyUnsuitable, match="does not open"):
        check_opens(split(encrypt(CONTENT)), make_one_off_key())
    check_opens(split(encrypt(CONTENT)), KEYS)


def test_decrypt_notices_every_flipped_bit_and_yields_no_altered_byte() -> None:
    encrypted, generator = encrypt(CONTENT), random.Random(7)  # noqa: S311
    for _ in range(60):
        damaged = bytearray(encrypted)
        damaged[generator.randrange(len(encrypted))] ^= 1 << generator.randrange(8)
        parts: list[bytes] = []
        with pytest.raises((BackupDamaged, KeyUnsuitable)):
            collect(decrypt(split(bytes(damaged)), KEYS), parts)
        assert CONTENT.startswith(b"".join(parts))


@pytest.mark.parametrize("length", [0, 10, 100, 231, 232, 65_000, -1, -16, -32_000])
def test_decrypt_notices_a_cut_stream(length: int) -> None:
    with pytest.raises(BackupDamaged, match="cannot be decrypted"):
        open_again(encrypt(CONTENT)[:length])


def test_decrypt_notices_a_stream_cut_where_a_piece_of_age_ends() -> None:
    encrypted = encrypt(CONTENT)
    _, _, rest = encrypted.partition(b"\n---")
    start = len(encrypted) - len(rest) + rest.index(b"\n") + 1 + 16
    for count in (1, 2):
        with pytest.raises(BackupDamaged, match="cannot be decrypted"):
            open_again(encrypted[: start + count * (65_536 + 16)])


def test_decrypt_raises_what_the_reading_raised() -> None:
    def broken() -> Iterator[bytes]:
        yield encrypt(CONTENT)[:100_000]
        raise BackupDamaged("The archive cannot be read.")

    with pytest.raises(BackupDamaged, match="cannot be read"):
        list(decrypt(broken(), KEYS))


def test_decrypt_ends_its_thread_when_nobody_reads_on() -> None:
    content = os.urandom(20_000_000)
    with contextlib.closing(decrypt(split(encrypt(content, piece=1 << 20)), KEYS)) as plain:
        assert content.startswith(next(plain))


def test_encryptor_raises_what_its_sink_raised() -> None:
    def full(_data: bytes) -> None:
        raise DiskFull("The disk of the backup folder is full.")

    with contextlib.closing(Encryptor(KEYS.public_keys, full)) as encryptor, pytest.raises(DiskFull):
        collect_into(encryptor)
    with contextlib.closing(Encryptor(KEYS.public_keys, full)) as encryptor:
        encryptor.write(b"short")
        with pytest.raises(DiskFull):
            encryptor.finish()


def test_encryptor_that_is_closed_early_writes_nothing_that_opens() -> None:
    parts: list[bytes] = []
    encryptor = Encryptor(KEYS.public_keys, parts.append)
    encryptor.write(CONTENT)
    encryptor.close()
    with pytest.raises((BackupDamaged, KeyUnsuitable)):
        open_again(b"".join(parts))


def test_channel_holds_no_more_than_its_limit() -> None:
    channel, passed = Channel(10), []

    def write() -> None:
        with contextlib.suppress(ChannelClosed):
            for _ in range(100):
                channel.put(b"x" * 10)
                passed.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    assert channel.get() == b"x" * 10
    channel.close()
    writer.join()
    assert len(passed) <= 2
    with pytest.raises(ChannelClosed):
        channel.get()
