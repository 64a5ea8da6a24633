"""What k9ops relies on: the adapter for Google Drive and the fake in memory pass the same tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.integration.drive.conftest import UNIT, Drive, Memory, make_content

from k9ops.drive.folder import find_or_make_folder, open_folder
from k9ops.drive.local import LocalFile
from k9ops.drive.store import Chunk, NewFile, RemoteFile
from k9ops.drive.upload import UploadOptions, upload_file
from k9ops.errors import (
    DriveFileExists,
    DriveFileMissing,
    DriveFolderMissing,
    DriveQuotaExceeded,
    DriveSessionGone,
    FileChanged,
)

MakeLocal = Callable[..., LocalFile]


def open_new(drive: Drive, local: LocalFile, folder: RemoteFile, file_id: str | None = None) -> tuple[str, str]:
    file_id = file_id or drive.store.reserve_id()
    new = NewFile(file_id, folder.file_id, local.name, local.size_bytes, {**local.properties, **local.key})
    return file_id, drive.store.open_session(new)


def send_all(drive: Drive, session: str, local: LocalFile, offset: int = 0) -> RemoteFile | None:
    chunk = Chunk(local.path, offset, local.size_bytes - offset, local.size_bytes)
    return drive.store.send_chunk(session, chunk).file


def test_folder_is_made_once_and_found_again(drive: Drive) -> None:
    made = find_or_make_folder(drive.store, "K9's \\ نسخ")
    assert (made.is_folder, made.is_trashed, made.name) == (True, False, "K9's \\ نسخ")
    assert find_or_make_folder(drive.store, "K9's \\ نسخ").file_id == made.file_id
    assert find_or_make_folder(drive.store, "another").file_id != made.file_id
    assert open_folder(drive.store, made.file_id).file_id == made.file_id


def test_folder_is_missing_when_it_is_gone_trashed_or_no_folder(
    drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder = find_or_make_folder(drive.store)
    copy = upload_file(drive.store, make_local(5), folder.file_id, memory=Memory(), options=options).file
    with pytest.raises(DriveFolderMissing, match="is no folder"):
        open_folder(drive.store, copy.file_id)
    drive.trash(folder.file_id)
    with pytest.raises(DriveFolderMissing, match="in the trash"):
        open_folder(drive.store, folder.file_id)
    assert find_or_make_folder(drive.store).file_id != folder.file_id
    drive.store.delete_file(folder.file_id)
    with pytest.raises(DriveFolderMissing, match="not on Google Drive any more"):
        open_folder(drive.store, folder.file_id)


def test_file_arrives_whole_and_is_reported_with_its_digests(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(2 * UNIT + 5)
    file_id, session = open_new(drive, local, folder)
    assert drive.store.query_session(session, local.size_bytes).confirmed_bytes == 0
    first = drive.store.send_chunk(session, Chunk(local.path, 0, 2 * UNIT, local.size_bytes))
    assert (first.confirmed_bytes, first.file) == (2 * UNIT, None)
    assert drive.store.query_session(session, local.size_bytes).confirmed_bytes == 2 * UNIT
    assert send_all(drive, session, local, 2 * UNIT) is not None
    found = drive.store.get_file(file_id)
    assert (found.size_bytes, found.md5, found.sha256) == (local.size_bytes, local.md5, local.sha256)
    assert local.is_copied_in(found)
    assert found.properties == {"k9ops_backup": "20261125T000000Z-4f1c2a9b", "k9ops_file": local.name}
    again = drive.store.query_session(session, local.size_bytes)
    assert again.file is not None
    assert again.file.file_id == file_id


def test_second_file_of_an_id_is_refused_before_and_after_its_bytes(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(UNIT)
    file_id, session = open_new(drive, local, folder)
    _, rival = open_new(drive, local, folder, file_id)
    send_all(drive, session, local)
    with pytest.raises(DriveFileExists):
        send_all(drive, rival, local)
    with pytest.raises(DriveFileExists):
        open_new(drive, local, folder, file_id)
    assert len(drive.store.list_files(folder.file_id)) == 1


def test_files_are_listed_by_folder_and_by_what_was_noted(drive: Drive, make_local: MakeLocal) -> None:
    folder, other = find_or_make_folder(drive.store), find_or_make_folder(drive.store, "other")
    local = make_local(10)
    file_id, session = open_new(drive, local, folder)
    send_all(drive, session, local)
    _, session = open_new(drive, local, other)
    send_all(drive, session, local)
    assert [item.file_id for item in drive.store.list_files(folder.file_id)] == [file_id]
    assert [item.file_id for item in drive.store.list_files(folder.file_id, properties=local.key)] == [file_id]
    assert not drive.store.list_files(folder.file_id, properties={"k9ops_file": "another"})
    drive.store.set_properties(file_id, {"k9ops_pinned": "yes"})
    noted = drive.store.get_file(file_id).properties
    assert (noted["k9ops_pinned"], noted["k9ops_file"]) == ("yes", local.name)
    drive.trash(file_id)
    assert not drive.store.list_files(folder.file_id)
    assert drive.store.get_file(file_id).is_trashed


def test_file_is_read_from_any_offset(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(3 * 1024 * 1024 + 7)
    file_id, session = open_new(drive, local, folder)
    send_all(drive, session, local)
    content = make_content(local.size_bytes)
    assert b"".join(drive.store.read_file(file_id)) == content
    assert b"".join(drive.store.read_file(file_id, offset=1_000_001)) == content[1_000_001:]
    with pytest.raises(DriveFileMissing):
        list(drive.store.read_file("nothing"))


def test_deletion_says_whether_something_was_there(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(10)
    file_id, session = open_new(drive, local, folder)
    send_all(drive, session, local)
    assert drive.store.delete_file(file_id) is True
    assert drive.store.delete_file(file_id) is False
    with pytest.raises(DriveFileMissing):
        drive.store.get_file(file_id)
    with pytest.raises(DriveFileMissing):
        drive.store.set_properties(file_id, {"a": "b"})


def test_quota_is_told_and_kept(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(2 * UNIT)
    drive.limit(UNIT)
    quota = drive.store.read_quota()
    assert (quota.account, quota.free_bytes, quota.limit_bytes) == ("k9@example.org", UNIT, UNIT)
    with pytest.raises(DriveQuotaExceeded):
        open_new(drive, local, folder)


def test_upload_into_a_folder_that_is_gone_says_so(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(10)
    drive.store.delete_file(folder.file_id)
    with pytest.raises(DriveFolderMissing):
        open_new(drive, local, folder)


def test_forgotten_session_is_told(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(10)
    _, session = open_new(drive, local, folder)
    drive.forget_sessions()
    with pytest.raises(DriveSessionGone):
        drive.store.query_session(session, local.size_bytes)
    with pytest.raises(DriveSessionGone):
        send_all(drive, session, local)


def test_file_that_shrinks_while_it_is_sent_is_told(drive: Drive, make_local: MakeLocal) -> None:
    folder, local = find_or_make_folder(drive.store), make_local(4 * UNIT)
    _, session = open_new(drive, local, folder)
    local.path.write_bytes(b"short")
    with pytest.raises(FileChanged):
        send_all(drive, session, local)


def test_upload_is_one_file_however_often_it_is_asked_for(
    drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder, local, memory = find_or_make_folder(drive.store), make_local(5 * UNIT + 3), Memory()
    first = upload_file(drive.store, local, folder.file_id, memory=memory, options=options)
    assert (first.is_found, first.sent_bytes) == (False, local.size_bytes)
    for again in (memory, Memory()):
        second = upload_file(drive.store, local, folder.file_id, memory=again, options=options)
        assert (second.is_found, second.sent_bytes, second.file.file_id) == (True, 0, first.file.file_id)
    assert len(drive.store.list_files(folder.file_id)) == 1
    assert [mark.confirmed_bytes for mark in memory.saved] == [0, 0, 2 * UNIT, 4 * UNIT]


def test_upload_goes_on_where_another_attempt_stopped(
    drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder, local, memory = find_or_make_folder(drive.store), make_local(5 * UNIT), Memory()

    def stop(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload_file(drive.store, local, folder.file_id, memory=memory, options=replace(options, on_progress=stop))
    done = upload_file(drive.store, local, folder.file_id, memory=memory, options=options)
    assert done.sent_bytes == 3 * UNIT
    assert local.is_copied_in(done.file)


def test_upload_starts_over_when_the_drive_forgot_it(
    drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder, local, memory = find_or_make_folder(drive.store), make_local(4 * UNIT), Memory()
    forgets = iter([False, True])

    def forget(done: int) -> None:
        if next(forgets, False):
            drive.forget_sessions()

    done = upload_file(drive.store, local, folder.file_id, memory=memory, options=replace(options, on_progress=forget))
    assert done.sent_bytes == 8 * UNIT  # two units, two into nothing, then all four
    assert local.is_copied_in(done.file)
    assert len({mark.file_id for mark in memory.saved}) == 1


def test_upload_of_another_content_does_not_go_on_with_the_old_one(
    drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder, memory = find_or_make_folder(drive.store), Memory()
    old = upload_file(drive.store, make_local(UNIT), folder.file_id, memory=memory, options=options)
    new = make_local(2 * UNIT)
    done = upload_file(drive.store, new, folder.file_id, memory=memory, options=options)
    assert new.is_copied_in(done.file)
    assert done.file.file_id != old.file.file_id
    assert [item.file_id for item in drive.store.list_files(folder.file_id)] == [done.file.file_id]


@pytest.mark.parametrize("is_early", [True, False])
def test_upload_takes_a_new_id_when_somebody_threw_the_copy_away(
    is_early: bool, drive: Drive, make_local: MakeLocal, options: UploadOptions
) -> None:
    folder, local, memory = find_or_make_folder(drive.store), make_local(UNIT), Memory()
    first = upload_file(drive.store, local, folder.file_id, memory=memory, options=options)
    drive.trash(first.file.file_id)
    memory.mark = replace(memory.saved[0] if is_early else memory.saved[-1])
    second = upload_file(drive.store, local, folder.file_id, memory=memory, options=options)
    assert second.file.file_id != first.file.file_id
    assert [item.file_id for item in drive.store.list_files(folder.file_id)] == [second.file.file_id]
