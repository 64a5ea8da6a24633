from __future__ import annotations

import os
import stat
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k9ops.errors import ArtefactDamaged, ArtefactNotFound
from k9ops.reports.artefacts import (
    Artefact,
    delete_expired,
    is_whole,
    list_artefacts,
    load_artefact,
    make_artefact_id,
    open_artefact,
    store_description,
    store_file,
    work_folder,
)

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def make(folder: Path, *, days: int = 30, content: bytes = b"content") -> Artefact:
    artefact_id = make_artefact_id(NOW, uuid.uuid4())
    size, sha256 = store_file(folder, f"{artefact_id}.csv", lambda file: file.write(content) and None)
    artefact = Artefact(
        artefact_id=artefact_id,
        report="dogs",
        title="سجل الكلاب",
        params={},
        format="csv",
        language="ar",
        generation="B",
        row_count=1,
        pages=None,
        size_bytes=size,
        sha256=sha256,
        data_sha256="0" * 64,
        look_sha256="0" * 64,
        requested_by=None,
        created_at=NOW,
        expires_at=NOW + timedelta(days=days),
    )
    store_description(folder, artefact)
    return artefact


def test_a_stored_report_is_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    artefact = make(folder)
    assert list_artefacts(folder) == [artefact] == [load_artefact(folder, artefact.artefact_id[:20])]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    with open_artefact(folder, artefact) as file:
        assert file.read() == b"content"


def test_a_report_without_its_description_or_file_is_not_there(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    (tmp_path / f"{first.artefact_id}.json").unlink()
    (tmp_path / second.file_name).unlink()
    assert list_artefacts(tmp_path) == []
    with pytest.raises(ArtefactNotFound, match="no finished report"):
        load_artefact(tmp_path, first.artefact_id)


def test_a_file_that_was_changed_is_noticed(tmp_path: Path) -> None:
    artefact = make(tmp_path)
    (tmp_path / artefact.file_name).write_bytes(b"contend")
    assert not is_whole(tmp_path, artefact)
    with pytest.raises(ArtefactDamaged, match="not what was written"), open_artefact(tmp_path, artefact):
        pass


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store_file(tmp_path, "x.csv", fail)
    assert list(tmp_path.iterdir()) == []


def test_delete_expired_takes_old_reports_and_what_was_left_and_nothing_else(tmp_path: Path) -> None:
    old, new = make(tmp_path, days=1), make(tmp_path, days=3)
    (tmp_path / "notes.pdf").write_bytes(b"somebody's own")
    orphan, young = (tmp_path / f"{make_artefact_id(NOW, uuid.uuid4())}.pdf" for _ in range(2))
    left = tmp_path / ".work-abc"
    left.mkdir()
    (left / "rows.jsonl").write_text("x", encoding="utf-8")
    for path in (orphan, young):
        path.write_bytes(b"x")
    now = NOW + timedelta(days=2)
    for path, age_h in ((orphan, 25), (left, 25), (young, 1)):
        moment_s = (now - timedelta(hours=age_h)).timestamp()
        os.utime(path, (moment_s, moment_s))
    gone, unfinished = delete_expired(tmp_path, now=now)
    assert ([artefact.artefact_id for artefact in gone], unfinished) == ([old.artefact_id], 2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"notes.pdf", young.name, new.file_name, f"{new.artefact_id}.json"}


def test_work_folder_is_removed_with_what_is_in_it(tmp_path: Path) -> None:
    with work_folder(tmp_path / "reports") as folder:
        (folder / "rows.jsonl").write_text("x", encoding="utf-8")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((tmp_path / "reports").iterdir()) == []
