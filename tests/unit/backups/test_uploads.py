"""Uploads in a backup: every kind of name, stored once, found again, restored whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import stat
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.backups.uploading import Scene, make_scene

from k9ops.backups.catalogue import (
    Backup,
    contents_path,
    delete_backup,
    digests_of,
    files_of,
    index_path,
    list_backups,
    load_backup,
    manifest_path,
    pack_path,
)
from k9ops.backups.keys import make_one_off_key
from k9ops.backups.manifest import encode
from k9ops.backups.uploads_index import encode_entry
from k9ops.backups.uploads_packs import packs_held, remove_unreferenced_packs
from k9ops.backups.uploads_read import check_uploads_digests, read_index, verify_uploads
from k9ops.backups.uploads_restore import restore_uploads
from k9ops.backups.uploads_scan import Entry, scan_uploads, show_path
from k9ops.config.settings import Settings
from k9ops.errors import BackupDamaged, KeyUnsuitable, ParamsInvalid, RunInterrupted
from k9ops.outcome import Execution

KEYS = make_one_off_key()
LARGE = random.Random(5).randbytes(9_000_000)  # noqa: S311 - the same content each time
LONG = "/".join(["مجلد طويل " + "ك" * 40] * 6) + "/" + "ص" * 100 + ".jpg"
ODD_NAMES: dict[str | bytes, bytes] = {
    "صور/صقر.jpg": b"\xff\xd8" + bytes(1000),
    LONG: b"long",
    b"latin-\xe9\xff.txt": b"not UTF-8",
    "new\nline and 'quotes' \" \\": b"odd",
    "-rf": b"dash",
    " leading": b"",
    "empty.bin": b"",
    "large/video.mp4": LARGE,
    "same/again.mp4": LARGE,
}


@pytest.fixture(params=["plain", "encrypted"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return make_scene(tmp_path, KEYS if request.param == "encrypted" else None)


def restore(scene: Scene, backup: Backup, into: Path, execution: Execution | None = None) -> object:
    return restore_uploads(Settings(), backup, into=into, execution=execution or Execution(), keys=scene.keys)


def contents_of(folder: Path) -> dict[bytes, tuple[bytes, int, int]]:
    """Return content, mode and time of every file below a folder."""
    found = {}
    for parent, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118
            facts = os.stat(path, follow_symlinks=False)  # noqa: PTH116
            if stat.S_ISREG(facts.st_mode):
                with open(path, "rb") as file:  # noqa: PTH123
                    content = file.read()
                key = os.path.relpath(path, os.fsencode(folder))
                found[key] = (content, stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
    return found


def verify(scene: Scene, backup: Backup) -> object:
    check_uploads_digests(backup, execution=Execution())
    return verify_uploads(backup, scene.keys, execution=Execution())


def test_uploads_of_every_name_are_restored_as_they_were(scene: Scene, tmp_path: Path) -> None:
    for name, content in ODD_NAMES.items():
        scene.put(name, content)
    (scene.uploads / "leer" / "tief").mkdir(parents=True)
    (scene.uploads / "empty.bin").chmod(0o640)
    os.utime(scene.uploads / "empty.bin", ns=(1, 1_600_000_000_123_456_789))
    assert len(LONG.encode()) > 255
    backup = scene.back_up()
    uploads = backup.manifest.uploads
    assert uploads is not None
    assert (uploads.files, uploads.missing, uploads.problem) == (len(ODD_NAMES), 0, None)
    assert uploads.size_bytes == sum(map(len, ODD_NAMES.values()))
    assert uploads.packs[0].contents == len(set(ODD_NAMES.values()))
    assert uploads.new_bytes == sum(map(len, set(ODD_NAMES.values())))
    found = verify(scene, backup)
    assert vars(found) | {"files": len(ODD_NAMES), "contents_by_digest": 0} == vars(found)
    restore(scene, backup, tmp_path / "again")
    assert contents_of(tmp_path / "again") == contents_of(scene.uploads)
    assert (tmp_path / "again" / "leer" / "tief").is_dir()
    assert [*digests_of(backup), manifest_path(scene.backups, backup.backup_id)] == list(files_of(backup))
    for path, sha256 in digests_of(backup).items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        if scene.keys and path.suffix == ".age":
            assert path.read_bytes().startswith(b"age-encryption.org/v1")


def test_uploads_store_no_content_twice(scene: Scene, tmp_path: Path) -> None:
    scene.put("a", b"first")
    scene.put("large", LARGE)
    first = scene.back_up()
    assert scene.back_up().manifest.uploads.packs == first.manifest.uploads.packs  # type: ignore[union-attr]
    scene.put("moved/a", b"first")
    (scene.uploads / "a").unlink()
    scene.put("b", b"second")
    third = scene.back_up()
    uploads = third.manifest.uploads
    assert uploads is not None
    assert uploads.new_bytes == len(b"second")
    assert [pack.backup_id for pack in uploads.packs] == [third.backup_id, first.backup_id]
    restore(scene, third, tmp_path / "again")
    assert contents_of(tmp_path / "again") == contents_of(scene.uploads)
    (scene.uploads / "moved" / "a").unlink()
    (scene.uploads / "large").unlink()
    fourth = scene.back_up()
    assert [pack.backup_id for pack in fourth.manifest.uploads.packs] == [third.backup_id]  # type: ignore[union-attr]


def test_uploads_list_links_and_sockets_and_follow_none(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    scene.put("inside", b"x")
    (scene.uploads / "good").symlink_to("inside")
    (scene.uploads / "loop").symlink_to("loop")
    os.mkfifo(scene.uploads / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(scene.uploads / "sock"))
        backup = scene.back_up()
    uploads = backup.manifest.uploads
    assert uploads is not None
    assert (uploads.files, uploads.skipped, uploads.missing, uploads.problem) == (1, 4, 0, None)
    kinds = {entry.path: (entry.kind, entry.target) for entry in read_index(backup, scene.keys)}
    assert kinds == {
        "good": ("link", "inside"),
        "inside": ("file", None),
        "loop": ("link", "loop"),
        "pipe": ("special", None),
        "sock": ("special", None),
    }
    (scene.uploads / "bad").symlink_to(tmp_path / "outside")
    (scene.uploads / "up").symlink_to("../outside")
    uploads = scene.back_up().manifest.uploads
    assert uploads is not None
    assert uploads.missing == 2
    assert "(2) It is a link to a place outside of the folder" in str(uploads.problem)
    assert "bad" not in str(uploads.problem), "names are for the index alone"
    backup = scene.back_up()
    restore(scene, backup, tmp_path / "again")
    assert set(contents_of(tmp_path / "again")) == {b"inside"}


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for the time of the block."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_scan_says_what_cannot_be_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in ("closed/inside", "open/secret", "open/readable", "lost+found/inside"):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(b"x")
        (folder / "open" / "secret").chmod(0)
        (folder / "closed").chmod(0)
        (folder / "lost+found").chmod(0)
        with as_nobody():
            entries = list(
                scan_uploads(folder, is_known=lambda _: True, store=lambda *_: True, check_stop=lambda: None)
            )
        (folder / "closed").chmod(0o700)
        (folder / "lost+found").chmod(0o700)
    assert [(entry.path, entry.kind, entry.problem) for entry in entries] == [
        ("closed", "directory", "It cannot be read: Permission denied."),
        ("lost+found", "directory", None),
        ("open", "directory", None),
        ("open/readable", "file", None),
        ("open/secret", "file", "It cannot be read: Permission denied."),
    ]


def test_scan_says_what_vanished(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    names = iter("abc")

    def remove_the_next() -> None:
        if next(names) == "b":
            (tmp_path / "b").unlink()

    entries = list(scan_uploads(tmp_path, is_known=lambda _: True, store=lambda *_: True, check_stop=remove_the_next))
    assert [(entry.path, entry.problem) for entry in entries] == [
        ("a", None), ("b", "It vanished while the folder was read."), ("c", None),
    ]  # fmt: skip


def test_scan_follows_no_link_that_takes_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "uploads").mkdir()
    file, look = tmp_path / "uploads" / "file", os.stat
    file.touch()

    def look_and_replace(*args: object, **options: object) -> os.stat_result:
        found = look(*args, **options)  # type: ignore[arg-type]
        if args == ("file",):
            file.unlink()
            file.symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(os, "stat", look_and_replace)
    stored: list[bytes] = []
    (entry,) = scan_uploads(
        tmp_path / "uploads",
        is_known=lambda _: False,
        store=lambda digest, *_: bool(stored.append(digest)) or True,
        check_stop=lambda: None,
    )
    assert (entry.sha256, stored) == (None, [])
    assert "cannot be read" in str(entry.problem)


def test_store_says_when_the_folder_cannot_be_read(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    uploads = Scene(tmp_path / "nowhere", scene.backups).store("20260301T020000Z-0000002b")
    assert uploads.problem == "The uploads folder could not be stored: No such file or directory."
    assert uploads.index_sha256 is None


def test_uploads_that_vanished_altogether_are_a_problem(scene: Scene) -> None:
    assert scene.back_up().manifest.uploads.problem is None  # type: ignore[union-attr]
    scene.put("a", b"x")
    backup = scene.back_up()
    (scene.uploads / "a").unlink()
    for _ in range(3):  # it stays a problem
        problem = scene.back_up().manifest.uploads.problem  # type: ignore[union-attr]
        assert problem == f"The uploads folder has no file; {backup.backup_id} has 1. Is its disk mounted?"
    scene.put("b", b"y")
    assert scene.back_up().manifest.uploads.problem is None  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [10, 5_000_000], ids=["small", "large"])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_scan_tries_a_file_again_that_changes_while_it_is_read(tmp_path: Path, size: int, times: int) -> None:
    path, stored, changes = tmp_path / "file", list[bytes](), iter(range(times))
    path.write_bytes(bytes(size))

    def store(digest: bytes, size_bytes: int, pieces: Iterator[bytes]) -> bool:
        if next(changes, None) is not None:
            with path.open("r+b") as file:
                file.write(os.urandom(8))
        content = b"".join(pieces)
        stored.append(digest)
        return hashlib.sha256(content).digest() == digest

    (entry,) = scan_uploads(tmp_path, is_known=lambda _digest: False, store=store, check_stop=lambda: None)
    if times < 3:
        assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        assert (entry.sha256, entry.problem) == (None, "It changed each time while it was read.")
    assert len(stored) == min(times + 1, 3)


def test_scan_does_not_take_a_growing_file_for_an_endless_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5_000_000))

    def grow() -> None:
        with path.open("ab") as file:
            file.write(bytes(2_000_000))

    (entry,) = scan_uploads(tmp_path, is_known=lambda _: True, store=lambda *_: True, check_stop=grow)
    assert entry.problem == "It changed each time while it was read."


def test_uploads_hold_a_void_member_and_the_right_one_when_a_file_changed_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("video", LARGE)
    looks: list[int] = []

    def change_once() -> None:
        looks.append(1)
        if len(looks) == 12:  # in the second reading, which stores
            scene.put("video", LARGE[:-1])

    backup = scene.back_up(execution=Execution(check_stop=change_once))
    uploads = backup.manifest.uploads
    assert uploads is not None
    assert (uploads.files, uploads.size_bytes, uploads.problem) == (1, len(LARGE) - 1, None)
    assert uploads.packs[0].size_bytes > 1.5 * len(LARGE), "the void member is in it"
    verify(scene, backup)
    restore(scene, backup, tmp_path / "again")
    assert contents_of(tmp_path / "again") == contents_of(scene.uploads)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.parametrize("damage", [_flip, lambda path: path.write_bytes(b""), Path.unlink])
def test_uploads_notice_damage_to_any_of_their_files(
    scene: Scene, tmp_path: Path, which: int, damage: Callable[[Path], object]
) -> None:
    scene.put("a", bytes(100_000))
    backup = scene.back_up()
    damage(files_of(backup)[which])
    with pytest.raises(BackupDamaged):
        verify(scene, backup)
    with pytest.raises(BackupDamaged):
        restore(scene, backup, tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "uploads"]
    if damage is not _flip:
        assert load_backup(scene.backups, backup.backup_id).verification_state == "failed"


def test_uploads_rely_on_no_damaged_pack(scene: Scene) -> None:
    scene.put("a", os.urandom(100_000))
    first = scene.back_up()
    _flip(pack_path(scene.backups, first.backup_id, is_encrypted=bool(scene.keys)))
    second = scene.back_up()
    assert [pack.backup_id for pack in second.manifest.uploads.packs] == [second.backup_id]  # type: ignore[union-attr]
    verify(scene, second)


def test_uploads_rely_on_no_pack_of_other_recipients(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    scene.put("a", b"x")
    for keys in (None, KEYS, make_one_off_key(), KEYS):
        scene.keys = keys
        backup = scene.back_up()
        verify(scene, backup)
    packs = backup.manifest.uploads.packs  # type: ignore[union-attr]
    assert [pack.backup_id for pack in packs] == [list_backups(scene.backups).backups[2].backup_id]


def test_uploads_with_another_key_are_not_read(scene: Scene, tmp_path: Path) -> None:
    scene.put("a", b"x")
    backup = scene.back_up()
    if scene.keys is not None:
        with pytest.raises(KeyUnsuitable):
            restore_uploads(Settings(), backup, into=tmp_path / "again", execution=Execution(), keys=make_one_off_key())
        assert not (tmp_path / "again").exists()


def test_verify_uploads_counts_old_packs_by_digest_with_a_one_off_key(tmp_path: Path) -> None:
    scene, first, second = make_scene(tmp_path, KEYS), make_one_off_key(), make_one_off_key()
    scene.put("a", b"old")
    scene.back_up(one_off=first.public_keys)
    scene.put("b", b"new")
    backup = scene.back_up(one_off=second.public_keys)
    found = verify_uploads(backup, second, execution=Execution())
    assert found is not None
    assert (found.files, found.contents_read, found.contents_by_digest) == (2, 1, 1)
    found = verify_uploads(backup, KEYS, execution=Execution())
    assert found is not None
    assert (found.contents_read, found.contents_by_digest) == (2, 0)


def forge(scene: Scene, *entries: Entry) -> Backup:
    """Return a backup whose index says something else, with digests that fit."""
    scene.put("a", b"x")
    backup = scene.back_up()
    content = zstandard.compress(b"".join(map(encode_entry, entries)))
    index_path(scene.backups, backup.backup_id, is_encrypted=False).write_bytes(content)
    changes = {"index_sha256": hashlib.sha256(content).hexdigest(), "index_size_bytes": len(content)}
    uploads = backup.manifest.uploads.model_copy(update=changes)  # type: ignore[union-attr]
    manifest = backup.manifest.model_copy(update={"uploads": uploads})
    manifest_path(scene.backups, backup.backup_id).write_bytes(encode(manifest))
    return load_backup(scene.backups, backup.backup_id)


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a//b", ".", "", "a/./b", "evil\0"])
def test_restore_refuses_names_that_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    scene = make_scene(tmp_path)
    for entry in (Entry(path, "file", 0o644, 1, 1, digest), Entry(path, "directory")):
        backup = forge(scene, entry)
        with pytest.raises(BackupDamaged, match="leads out of the folder"):
            restore(scene, backup, tmp_path / "again")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backups", "uploads"]


def test_restore_makes_no_link_and_gives_no_rights_of_others(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    scene = make_scene(tmp_path)
    link, file = Entry("d", "link", target="/etc"), Entry("d/passwd", "file", 0o6755, 1, 1, digest)
    restore(scene, forge(scene, link, file), tmp_path / "again")
    assert not (tmp_path / "again" / "d").is_symlink()
    assert stat.S_IMODE((tmp_path / "again" / "d" / "passwd").stat().st_mode) == 0o755


def test_restore_and_verification_notice_an_index_that_says_something_else(tmp_path: Path) -> None:
    scene, digest = make_scene(tmp_path), hashlib.sha256(b"x").hexdigest()
    file = Entry("a", "file", 0o644, 1, 1, digest)
    for entries in ((), (file, Entry("b", "file", 0o644, 1, 1, digest)), (Entry("a", "file", 0o644, 1, 2, digest),),
                    (file, file), (Entry("a", "file", 0o644, 1, 1, "0" * 64),)):  # fmt: skip
        backup = forge(scene, *entries)
        with pytest.raises(BackupDamaged):
            verify_uploads(backup, None, execution=Execution())
        if entries != (Entry("a", "file", 0o644, 1, 2, digest),):
            with pytest.raises(BackupDamaged):
                restore(scene, backup, tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_restore_and_verification_notice_a_content_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    """Another content in its place, in a pack whose own digest fits."""
    scene = make_scene(tmp_path)
    scene.put("a", b"x")
    backup = scene.back_up()
    path = pack_path(scene.backups, backup.backup_id, is_encrypted=False)
    members = zstandard.decompress(path.read_bytes(), max_output_size=10_000)
    content = zstandard.compress(members.replace(b"x" + bytes(511), b"y" + bytes(511)))
    path.write_bytes(content)
    uploads = backup.manifest.uploads
    assert uploads is not None
    changes = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    uploads = uploads.model_copy(update={"packs": (uploads.packs[0].model_copy(update=changes),)})
    manifest = backup.manifest.model_copy(update={"uploads": uploads})
    manifest_path(scene.backups, backup.backup_id).write_bytes(encode(manifest))
    backup = load_backup(scene.backups, backup.backup_id)
    check_uploads_digests(backup, execution=Execution())
    with pytest.raises(BackupDamaged, match="lacks 1 of its contents"):
        verify_uploads(backup, None, execution=Execution())
    with pytest.raises(BackupDamaged, match="1 contents are in no pack"):
        restore(scene, backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_restore_leaves_nothing_when_it_must_stop_and_touches_nothing_that_is_there(
    scene: Scene, tmp_path: Path
) -> None:
    scene.put("large", LARGE)
    backup, stops = scene.back_up(), list[int]()

    def stop() -> None:
        stops.append(1)
        if list(tmp_path.glob(".again.*.partial/large")):
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with pytest.raises(RunInterrupted):
        restore(scene, backup, tmp_path / "again", Execution(check_stop=stop))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "uploads"]
    with pytest.raises(ParamsInvalid, match="is there already"):
        restore(scene, backup, scene.uploads)
    with pytest.raises(ParamsInvalid, match="There is no folder"):
        restore(scene, backup, tmp_path / "no" / "again")


def test_remove_unreferenced_packs_keeps_what_a_kept_set_needs(scene: Scene, tmp_path: Path) -> None:
    scene.put("a", b"first")
    first = scene.back_up()
    second = scene.back_up()
    delete_backup(first, "too old")
    assert remove_unreferenced_packs(scene.backups) == 0
    restore(scene, second, tmp_path / "again")
    delete_backup(second, "too old")
    assert remove_unreferenced_packs(scene.backups) > 0
    assert [path.name for path in scene.backups.iterdir()] == [".uploads.lock"]


def test_remove_unreferenced_packs_waits_for_a_set_that_is_being_made_and_for_a_manifest_it_cannot_read(
    scene: Scene,
) -> None:
    scene.put("a", b"first")
    delete_backup(scene.back_up(), "too old")
    with packs_held(scene.backups):
        assert remove_unreferenced_packs(scene.backups) == 0
    other = scene.back_up()
    manifest = manifest_path(scene.backups, other.backup_id)
    content = manifest.read_bytes()
    manifest.write_bytes(b"\0")
    assert remove_unreferenced_packs(scene.backups) == 0
    manifest.write_bytes(content)
    remove_unreferenced_packs(scene.backups)
    verify(scene, other)


def test_remove_unreferenced_packs_keeps_those_of_a_set_that_cannot_be_read_though_others_use_its_pack(
    scene: Scene,
) -> None:
    scene.put("old", b"old")
    first = scene.back_up()
    scene.put("new", b"new")
    unreadable = scene.back_up()
    (scene.uploads / "old").unlink()
    scene.back_up()
    assert delete_backup(first, "a test")
    aside = unreadable.archive_path.rename(scene.backups / "aside")
    assert remove_unreferenced_packs(scene.backups) == 0
    aside.rename(unreadable.archive_path)
    assert load_backup(scene.backups, unreadable.backup_id).verification_state != "failed"


def test_set_that_is_made_again_relies_on_nothing_that_the_damaged_one_left(scene: Scene) -> None:
    scene.put("a", b"content")
    damaged = scene.back_up()
    index_path(scene.backups, damaged.backup_id, is_encrypted=damaged.is_encrypted).write_bytes(b"damaged")
    again = scene.back_up(backup_id=damaged.backup_id)
    assert again.manifest.uploads is not None
    assert [pack.backup_id for pack in again.manifest.uploads.packs] == [damaged.backup_id]
    verify(scene, again)


def test_store_refuses_to_write_over_a_pack_that_another_set_needs(scene: Scene) -> None:
    scene.put("a", b"first")
    first = scene.back_up()
    second = scene.back_up()
    scene.put("b", b"second")
    uploads = scene.store(first.backup_id)
    assert "refers to a pack of the same name" in str(uploads.problem)
    verify(scene, second)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 6)),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("back up"), st.just(0), st.just(0)),
        st.tuples(st.just("delete"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("clean"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_a_kept_set_never_loses_a_content_and_a_pack_nobody_needs_goes(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int, int]]
) -> None:
    scene = make_scene(tmp_path_factory.mktemp("history"))
    for step, number, content in history:
        kept = list_backups(scene.backups).backups
        if step == "put":
            scene.put(f"file {number}", b"content %d" % content)
        elif step == "remove":
            (scene.uploads / f"file {number}").unlink(missing_ok=True)
        elif step == "back up":
            scene.back_up()
        elif step == "delete" and kept:
            delete_backup(kept[number % len(kept)], "chosen")
        elif step == "clean":
            remove_unreferenced_packs(scene.backups)
        for backup in list_backups(scene.backups).backups:
            verify(scene, backup)
    remove_unreferenced_packs(scene.backups)
    kept = list_backups(scene.backups).backups
    needed = {path for backup in kept for path in files_of(backup)}
    own = {contents_path(scene.backups, item.backup_id) for item in kept}
    own |= {pack_path(scene.backups, item.backup_id, is_encrypted=False) for item in kept}
    there = {path for path in scene.backups.iterdir() if ".files." in path.name}
    assert there <= needed | own
    assert list_backups(scene.backups).problems == ()


def test_uploads_of_many_files_need_little_memory(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    for number in range(3000):
        scene.put(f"{number % 50}/{number}", b"%d" % number)
    tracemalloc.start()
    backup = scene.back_up()
    verify(scene, backup)
    restore(scene, backup, tmp_path / "again")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


def test_show_path_shows_bytes_that_are_not_utf_8() -> None:
    assert show_path(os.fsdecode("صقر\xff".encode() + b"\xff")) == "صقرÿ\\xff"
