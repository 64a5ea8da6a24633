"""The double of Drive, and both kinds of stores: what holds for one must hold for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.drive_double.connecting import connect
from tests.drive_double.server import DriveDouble, running_double
from tests.fake_drive import FakeDrive

from k9ops.drive.google_drive import GoogleDrive
from k9ops.drive.local import LocalFile, read_local_file
from k9ops.drive.patience import Patience
from k9ops.drive.store import CHUNK_UNIT_BYTES, DriveStore
from k9ops.drive.upload import UploadMark, UploadOptions
from k9ops.outcome import Execution

UNIT = CHUNK_UNIT_BYTES


@dataclass
class Drive:
    """A store, and what a person or Google may do behind its back.

    Attributes:
        store: The interface.
        trash: Puts a file or folder into the trash.
        forget_sessions: Makes the drive forget every upload.
        limit: Sets the room of the account.
    """

    store: DriveStore
    trash: Callable[[str], None]
    forget_sessions: Callable[[], None]
    limit: Callable[[int], None]


@dataclass
class Memory:
    """Keeps a mark as a caller does, and every mark that was kept."""

    mark: UploadMark | None = None
    saved: list[UploadMark] = field(default_factory=list)

    def load(self) -> UploadMark | None:
        return self.mark

    def save(self, mark: UploadMark) -> None:
        self.mark = mark
        self.saved.append(mark)


@dataclass
class Waits:
    """Notes every wait instead of waiting."""

    seconds: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def double() -> Iterator[DriveDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def google(double: DriveDouble) -> Iterator[GoogleDrive]:
    """The real adapter, on the double."""
    store = connect(double)
    yield store
    store.close()


@pytest.fixture(params=["fake", "google"])
def drive(request: pytest.FixtureRequest) -> Drive:
    """Each kind of store in turn."""
    if request.param == "fake":
        fake = FakeDrive()

        def limit_fake(size_bytes: int) -> None:
            fake.limit_bytes = size_bytes

        return Drive(fake, fake.trash, fake.forget_sessions, limit_fake)
    double: DriveDouble = request.getfixturevalue("double")

    def trash(file_id: str) -> None:
        double.state.files[file_id].meta["trashed"] = True

    def limit(size_bytes: int) -> None:
        double.state.limit_bytes = size_bytes

    store: GoogleDrive = request.getfixturevalue("google")
    return Drive(store, trash, double.state.sessions.clear, limit)


def make_content(size_bytes: int) -> bytes:
    """Return bytes of which no two blocks are the same."""
    block = b"".join(number.to_bytes(8, "big") for number in range(size_bytes // 8 + 1))
    return block[:size_bytes]


@pytest.fixture
def make_local(tmp_path: Path) -> Callable[[int], LocalFile]:
    """Make a file of a size, ready to be uploaded."""

    def make(size_bytes: int, name: str = "20261125T000000Z-4f1c2a9b.dump") -> LocalFile:
        path = tmp_path / name
        path.write_bytes(make_content(size_bytes))
        return read_local_file(path, properties={"k9ops_backup": name.partition(".")[0]}, execution=Execution())

    return make


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def options(waits: Waits) -> UploadOptions:
    """Small chunks, and no waiting."""
    return UploadOptions(
        chunk_bytes=2 * UNIT,
        patience=Patience(sleep=waits.sleep),
        execution=Execution(),
        on_progress=lambda _: None,
    )
