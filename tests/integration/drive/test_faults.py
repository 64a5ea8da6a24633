"""Everything that Drive, Google's sign-in and the network do wrong: one file in the end, or a clear sentence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.drive_double.connecting import connect, make_tokens
from tests.drive_double.faults import Fault, Kind
from tests.drive_double.server import DriveDouble, folder_meta
from tests.integration.drive.conftest import UNIT, Memory, Waits

from k9ops.drive.folder import find_or_make_folder, open_folder
from k9ops.drive.google_drive import GoogleDrive
from k9ops.drive.local import LocalFile
from k9ops.drive.upload import Uploaded, UploadOptions, upload_file
from k9ops.errors import (
    DriveAccessRevoked,
    DriveCopyDiffers,
    DriveFolderMissing,
    DriveLimited,
    DriveQuotaExceeded,
    DriveRefused,
    DriveUnavailable,
    K9opsError,
    PermanentError,
    RunInterrupted,
    TransientError,
)

MakeLocal = Callable[..., LocalFile]
SIZE = 7 * UNIT + 11


@pytest.fixture
def local(make_local: MakeLocal) -> LocalFile:
    return make_local(SIZE)


@pytest.fixture
def folder_id(google: GoogleDrive) -> str:
    return find_or_make_folder(google).file_id


def check_one_file(double: DriveDouble, local: LocalFile, done: Uploaded) -> None:
    (stored,) = double.state.contents()
    assert bytes(stored.content) == local.path.read_bytes()
    assert (done.file.file_id, done.file.sha256, done.file.md5) == (stored.meta["id"], local.sha256, local.md5)


CHUNK_FAULTS = {
    "401": Fault("chunk", 401, "authError"),
    "403 rate": Fault("chunk", 403, "rateLimitExceeded"),
    "403 user rate": Fault("chunk", 403, "userRateLimitExceeded"),
    "429": Fault("chunk", 429, "rateLimitExceeded", retry_after="2"),
    "500": Fault("chunk", 500, "backendError"),
    "502 page": Fault("chunk", 502),
    "503 with a wait": Fault("chunk", 503, retry_after="3"),
    "cut": Fault("chunk"),
    "lost reply": Fault("chunk", lose_reply=True),
}


@pytest.mark.parametrize("name", CHUNK_FAULTS)
@pytest.mark.parametrize("position", [0, 2, 3])
def test_chunk_that_fails_is_sent_again_and_makes_one_file(
    name: str, position: int, double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str,
    options: UploadOptions, waits: Waits,
) -> None:  # fmt: skip
    def arm(done: int) -> None:
        if done == position * options.chunk_bytes:
            double.faults.add(CHUNK_FAULTS[name])

    done = upload_file(google, local, folder_id, memory=Memory(), options=replace(options, on_progress=arm))
    check_one_file(double, local, done)
    resent = double.count("chunk") - 4
    assert resent == (0 if name == "lost reply" else 1)
    waited = sum(waits.seconds)
    assert waited >= {"429": 2, "503 with a wait": 3, "401": 0}.get(name, 0.25)
    assert waited < 4
    assert double.count("query") == (0 if name == "401" else 1)


@pytest.mark.parametrize("kind", ["open", "get", "ids", "list"])
@pytest.mark.parametrize("fault", ["503", "cut", "lost reply"])
def test_fault_outside_of_the_chunks_is_left_to_the_next_attempt(
    kind: Kind, fault: str, double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str,
    options: UploadOptions,
) -> None:  # fmt: skip
    memory = Memory()
    if fault == "503":
        double.faults.add(Fault(kind, 503, retry_after="7"))
    else:
        double.faults.add(Fault(kind, lose_reply=fault == "lost reply" and kind != "get"))
    with pytest.raises(DriveUnavailable) as caught:
        upload_file(google, local, folder_id, memory=memory, options=options)
    assert caught.value.retry_after_s == (7 if fault == "503" else None)
    check_one_file(double, local, upload_file(google, local, folder_id, memory=memory, options=options))


def test_faults_while_asking_for_the_offset_are_borne_too(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    for fault in (Fault("chunk"), Fault("query", 503), Fault("query", lose_reply=True), Fault("query")):
        double.faults.add(fault)
    done = upload_file(google, local, folder_id, memory=Memory(), options=options)
    check_one_file(double, local, done)
    assert (double.count("query"), double.count("chunk")) == (4, 5)


def test_chunk_of_which_nothing_is_taken_does_not_go_round_for_ever(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions, waits: Waits
) -> None:
    double.faults.add(Fault("chunk", 308), times=99)
    with pytest.raises(DriveUnavailable, match="took nothing"):
        upload_file(google, local, folder_id, memory=Memory(), options=options)
    assert double.count("chunk") == 7


def test_bytes_of_a_killed_process_that_arrive_late_are_counted(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    def arrive(done: int) -> None:
        if done == 2 * UNIT:
            (session,) = double.state.sessions.values()
            with local.path.open("rb") as file:
                file.seek(2 * UNIT)
                session.take(file.read(UNIT), keep=True)

    done = upload_file(google, local, folder_id, memory=Memory(), options=replace(options, on_progress=arrive))
    check_one_file(double, local, done)


def test_lost_reply_to_the_last_chunk_makes_one_file_where_search_lags(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    double.state.search_lags = True
    memory = Memory()

    def arm(done: int) -> None:
        if done == 6 * UNIT:
            double.faults.add(Fault("chunk", lose_reply=True))
            double.faults.add(Fault("query"), times=9)

    with pytest.raises(DriveUnavailable):
        upload_file(google, local, folder_id, memory=memory, options=replace(options, on_progress=arm))
    assert len(double.state.contents()) == 1
    double.faults.waiting.clear()
    done = upload_file(google, local, folder_id, memory=memory, options=options)
    check_one_file(double, local, done)
    assert done.sent_bytes == 0

    double.state.sessions.clear()  # the same a week later: the id alone leads to the file
    done = upload_file(google, local, folder_id, memory=memory, options=options)
    check_one_file(double, local, done)


@pytest.mark.parametrize("status", [404, 410])
def test_session_that_is_gone_starts_over_with_the_same_id(
    status: int, double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    double.faults.waiting = [Fault("chunk", status, "notFound")]
    memory = Memory()
    done = upload_file(google, local, folder_id, memory=memory, options=options)
    check_one_file(double, local, done)
    assert double.count("open") == 2
    assert len({mark.file_id for mark in memory.saved}) == 1


def test_drive_that_forgets_every_session_ends_the_attempt(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    double.faults.add(Fault("chunk", 410), times=99)
    with pytest.raises(DriveUnavailable, match="forgets every upload"):
        upload_file(google, local, folder_id, memory=Memory(), options=options)


def test_patience_ends_and_leaves_the_rest_to_the_next_attempt(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions, waits: Waits
) -> None:
    double.faults.add(Fault("chunk", 503), times=7)
    memory = Memory()
    with pytest.raises(DriveUnavailable) as caught:
        upload_file(google, local, folder_id, memory=memory, options=options)
    assert isinstance(caught.value, TransientError)
    assert double.count("chunk") == 7
    assert 15 <= sum(waits.seconds) <= 32  # 0.5 + 1 + 2 + 4 + 8 + 16, each between half and all
    check_one_file(double, local, upload_file(google, local, folder_id, memory=memory, options=options))


def test_limit_that_asks_for_a_long_wait_goes_back_to_the_queue(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions, waits: Waits
) -> None:
    at = datetime.now(UTC) + timedelta(minutes=10)
    double.faults.add(Fault("chunk", 429, retry_after=f"{at:%a, %d %b %Y %H:%M:%S} GMT"))
    with pytest.raises(DriveLimited) as caught:
        upload_file(google, local, folder_id, memory=Memory(), options=options)
    assert caught.value.retry_after_s is not None
    assert 500 < caught.value.retry_after_s <= 600
    assert waits.seconds == []


PERMANENT = {
    "quota at the start": (Fault("open", 403, "storageQuotaExceeded"), DriveQuotaExceeded, "storage .* is full"),
    "quota on the way": (Fault("chunk", 403, "storageQuotaExceeded"), DriveQuotaExceeded, "storage .* is full"),
    "no right": (Fault("open", 403, "insufficientFilePermissions"), DriveRefused, "403, insufficientFilePermissions"),
    "bad request": (Fault("chunk", 400, "badRequest"), DriveRefused, "400, badRequest"),
    "folder": (Fault("open", 404, "notFound"), DriveFolderMissing, "not on Google Drive any more"),
}


@pytest.mark.parametrize("name", PERMANENT)
def test_refusal_for_good_ends_at_once_with_a_clear_sentence(
    name: str, double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions,
    waits: Waits,
) -> None:  # fmt: skip
    fault, kind, words = PERMANENT[name]
    double.faults.add(fault)
    with pytest.raises(kind, match=words) as caught:
        upload_file(google, local, folder_id, memory=Memory(), options=options)
    assert isinstance(caught.value, PermanentError)
    assert waits.seconds == []


def test_revoked_consent_is_told_before_and_during_an_upload(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    def revoke(done: int) -> None:
        if done:
            double.state.refresh_tokens.clear()
            double.state.expire_access_tokens()

    with pytest.raises(DriveAccessRevoked, match="k9ops drive connect"):
        upload_file(google, local, folder_id, memory=Memory(), options=replace(options, on_progress=revoke))
    with pytest.raises(DriveAccessRevoked):
        google.read_quota()
    stranger = connect(double, tokens=replace(make_tokens(double), client_secret="another"))
    with pytest.raises(DriveAccessRevoked):
        stranger.read_quota()
    stranger.close()


def test_token_that_stays_unaccepted_after_a_refresh_is_not_tried_for_ever(
    double: DriveDouble, google: GoogleDrive
) -> None:
    double.faults.add(Fault("about", 401, "authError"), times=9)
    with pytest.raises(DriveAccessRevoked):
        google.read_quota()
    assert double.count("about") == 2
    assert double.count("token") == 2


def test_sign_in_that_is_away_is_worth_another_attempt(double: DriveDouble, google: GoogleDrive) -> None:
    double.faults.add(Fault("token"), times=9)
    with pytest.raises(DriveUnavailable):
        google.read_quota()


def test_expired_token_is_refreshed_once_in_the_middle_of_an_upload(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    def expire(done: int) -> None:
        double.state.expire_access_tokens()

    done = upload_file(google, local, folder_id, memory=Memory(), options=replace(options, on_progress=expire))
    check_one_file(double, local, done)
    assert double.count("query") == 0


def test_copy_that_differs_is_deleted_and_does_not_count(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    def garble(done: int) -> None:
        if done == 6 * UNIT:
            (session,) = double.state.sessions.values()
            session.content[5] ^= 1
            session.sha256.update(b"one bit")

    memory = Memory()
    with pytest.raises(DriveCopyDiffers, match="deleted there"):
        upload_file(google, local, folder_id, memory=memory, options=replace(options, on_progress=garble))
    assert double.state.contents() == []
    check_one_file(double, local, upload_file(google, local, folder_id, memory=memory, options=options))


def test_connection_cut_anywhere_in_a_chunk_loses_less_than_that_chunk(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions
) -> None:
    double.faults.cut_offsets = {0, 1, UNIT, 2 * UNIT, 3 * UNIT + 100, 6 * UNIT - 1, SIZE - 1}
    done = upload_file(google, local, folder_id, memory=Memory(), options=options)
    check_one_file(double, local, done)
    assert done.sent_bytes <= SIZE + 7 * options.chunk_bytes
    assert double.faults.cut_offsets == set()


def test_silent_drive_is_given_up_in_time(double: DriveDouble) -> None:
    store = connect(double, tokens=make_tokens(double, is_fresh=True), timeout_s=(5.0, 0.2))
    double.faults.add(Fault("about", delay_s=20))
    with pytest.raises(DriveUnavailable, match="in time"):
        store.read_quota()
    store.close()


def test_run_that_must_stop_stops_in_the_middle_of_a_chunk(
    double: DriveDouble, local: LocalFile, options: UploadOptions
) -> None:
    stop = threading.Event()

    def check_stop() -> None:
        if stop.is_set():
            raise RunInterrupted("The worker is shutting down.", reason="shutdown")

    store = connect(double, check_stop=check_stop)
    folder = find_or_make_folder(store)
    # Only the adapter is told: it must notice by itself while a chunk is on its way.
    stopping = replace(options, on_progress=lambda done: stop.set())
    memory = Memory()
    with pytest.raises(RunInterrupted):
        upload_file(store, local, folder.file_id, memory=memory, options=stopping)
    # The double may have seen the head of the request by now, but nothing of the file.
    assert [session.received for session in double.state.sessions.values()] == [0]
    stop.clear()
    check_one_file(double, local, upload_file(store, local, folder.file_id, memory=memory, options=options))
    store.close()


def test_two_that_look_for_the_folder_at_the_same_moment_agree_on_one(double: DriveDouble) -> None:
    barrier, found = threading.Barrier(4), []

    def look() -> None:
        store = connect(double, tokens=make_tokens(double, is_fresh=True))
        find_folders = store.find_folders

        def find_at_once(name: str) -> object:
            result = find_folders(name)
            if not barrier.broken:
                barrier.wait(10)
            return result

        store.find_folders = find_at_once  # type: ignore[method-assign, assignment]
        found.append(find_or_make_folder(store).file_id)
        store.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder,) = double.state.folders()
    assert found == [folder.meta["id"]] * 4
    assert double.count("create") == 4


def test_shared_drive_takes_backups_without_the_accounts_room(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, options: UploadOptions
) -> None:
    double.state.limit_bytes = 0
    root = double.state.add_file(folder_meta("Unit", driveId="shared-1", parents=["shared-1"]))
    folder = open_folder(google, root.meta["id"])
    assert folder.shared_drive_id == "shared-1"
    done = upload_file(google, local, folder.file_id, memory=Memory(), options=options)
    check_one_file(double, local, done)
    assert upload_file(google, local, folder.file_id, memory=Memory(), options=options).is_found
    assert google.delete_file(done.file.file_id)


def test_long_listing_is_read_to_its_last_page(double: DriveDouble, google: GoogleDrive, folder_id: str) -> None:
    double.state.page_size = 3
    for number in range(10):
        double.state.add_file({"name": f"{number}.dump", "parents": [folder_id]}, b"x")
    assert [item.name for item in google.list_files(folder_id)] == [f"{number}.dump" for number in range(10)]


def test_no_secret_leaves_in_a_log_or_an_error(
    double: DriveDouble, google: GoogleDrive, local: LocalFile, folder_id: str, options: UploadOptions,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    double.faults.add(Fault("chunk"), times=9)
    memory = Memory()
    with pytest.raises(K9opsError) as caught:
        upload_file(google, local, folder_id, memory=memory, options=options)
    assert memory.mark is not None
    assert memory.mark.session is not None
    assert "upload_id" in memory.mark.session
    double.stop()
    with pytest.raises(DriveUnavailable) as refused:
        google.query_session(memory.mark.session, local.size_bytes)
    assert "upload_id" in str(refused.value.__context__), "the library's own words hold the address"
    text = caplog.text + str(refused.value) + repr(refused.value.detail)
    text += str(caught.value) + repr(caught.value.detail) + repr(make_tokens(double))
    for secret in ("upload_id", "secret-", *double.state.access_tokens, *double.state.refresh_tokens):
        assert secret not in text
