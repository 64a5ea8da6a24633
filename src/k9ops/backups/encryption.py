"""age encryption as part of a stream: in a thread beside it, so that hashing and writing go on meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import pyrage

from k9ops.backups.channel import Channel, ChannelClosed
from k9ops.backups.keys import PrivateKeys
from k9ops.errors import BackupDamaged, KeyUnsuitable

# pyrage moves 8 kB at a time; larger transfers between the threads cost less.
_TRANSFER_BYTES = 256 * 1024
_CHANNEL_BYTES = 4 << 20

#: The first line of every file of version 1 (age-encryption.org/v1).
AGE_HEADER = b"age-encryption.org/v1\n"


class Encryptor:
    """Encrypts what it is given, and hands the result on in a thread of its own.

    Nobody can decrypt what it wrote before `finish`: age marks the last piece of a stream.

    Args:
        recipients: Public keys, one at least.
        sink: Takes the encrypted bytes, in the thread.
    """

    def __init__(self, recipients: Sequence[str], sink: Callable[[bytes], object]) -> None:
        self._recipients = [pyrage.x25519.Recipient.from_str(name) for name in recipients]
        self._channel = Channel(_CHANNEL_BYTES)
        self._output = _Output(sink)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="age encryption", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Encrypt the next bytes; what went wrong in the thread is raised here."""
        try:
            self._channel.put(data)
        except ChannelClosed:
            self._raise()

    def finish(self) -> None:
        """Write the end of the encrypted stream."""
        self._channel.complete()
        self._thread.join()
        if self._error is not None:
            self._raise()

    def close(self) -> None:
        """End the thread, whole or not."""
        self._channel.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            pyrage.encrypt_io(_Input(iter(self._channel.get, b"")), self._output, self._recipients)
            self._output.flush_all()
        except BaseException as exc:
            self._error = exc
            self._channel.close()

    def _raise(self) -> None:
        self._thread.join()
        # pyrage turns what the sink raised into an error of its own, without its cause.
        error = self._output.error or self._error
        raise error if error is not None else ChannelClosed


def decrypt(chunks: Iterable[bytes], keys: PrivateKeys) -> Generator[bytes]:
    """Yield the plain bytes of an encrypted stream, each piece authenticated before it is yielded.

    Args:
        chunks: The encrypted stream; read in a thread.
        keys: One of them must fit.

    Raises:
        KeyUnsuitable: No key opens it.
        BackupDamaged: It is no encrypted stream, was altered, or ends too early.
    """
    source, channel, errors = _Input(iter(chunks)), Channel(_CHANNEL_BYTES), list[BaseException]()
    output = _Output(channel.put)

    def run() -> None:
        try:
            pyrage.decrypt_io(source, output, list(keys.identities))
            output.flush_all()
            channel.complete()
        except BaseException as exc:
            errors.append(exc)
            channel.close()

    thread = threading.Thread(target=run, name="age decryption", daemon=True)
    thread.start()
    try:
        while data := channel.get():
            yield data
    except ChannelClosed:
        thread.join()
        raise _translate(source.error or errors[0]) from errors[0]
    finally:
        channel.close()
        thread.join()


def check_opens(chunks: Iterable[bytes], keys: PrivateKeys) -> None:
    """Decrypt no more than the beginning of a stream.

    Raises:
        KeyUnsuitable: No key opens it.
        BackupDamaged: It is no encrypted stream.
    """
    with contextlib.closing(decrypt(chunks, keys)) as plain:
        next(plain, None)


def _translate(error: BaseException) -> BaseException:
    if isinstance(error, pyrage.DecryptError) and "matching keys" in str(error):
        return KeyUnsuitable("The private key does not open this backup.")
    if isinstance(error, pyrage.DecryptError | OSError):
        return BackupDamaged("It cannot be decrypted: it is altered, cut short, or not encrypted.", error=str(error))
    return error


class _Input:
    """What pyrage reads from."""

    def __init__(self, chunks: Any) -> None:
        self.error: BaseException | None = None
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        if not self._rest:
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except BaseException as exc:
                self.error = exc
                raise
        part, self._rest = self._rest[:count], self._rest[count:]
        return bytes(part)


class _Output:
    """What pyrage writes to; passes on larger pieces."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self.error: BaseException | None = None
        self._sink = sink
        self._parts: list[bytes] = []
        self._count = 0

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        self._count += len(data)
        if self._count >= _TRANSFER_BYTES:
            self.flush_all()
        return len(data)

    def flush(self) -> None:
        """Nothing: pyrage asks for it after every piece."""

    def flush_all(self) -> None:
        data = b"".join(self._parts)
        self._parts, self._count = [], 0
        try:
            self._sink(data)
        except BaseException as exc:
            self.error = exc
            raise
