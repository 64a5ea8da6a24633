"""Whatever stands in the folder, listing it is possible, and what is whole in it is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.backups.making import MOMENT, make_manifest
from tests.unit.backups.test_catalogue import store

from k9ops.backups.catalogue import list_backups, load_backup, manifest_path, pin, state_path
from k9ops.backups.manifest import decode_manifest, decode_state, encode
from k9ops.backups.retention import RetentionPolicy, apply_retention
from k9ops.config.settings import Settings
from k9ops.errors import BackupDamaged, PolicyInvalid

WHOLE = encode(make_manifest())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 200_000)
@example(b'{"manifest_version": ' + b"[" * 200_000)
@example(b'{"manifest_version": ' + b"9" * 10_000 + b"}")
@example(b'{"manifest_version": true}')
@example(b'{"manifest_version": [1], "state_version": {}}')
def test_decode_calls_any_other_content_damage(content: bytes) -> None:
    for decode in (decode_manifest, decode_state):
        with pytest.raises(BackupDamaged):
            decode(content)


@given(position=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_decode_manifest_reads_a_changed_byte_or_calls_it_damage(position: int, value: int) -> None:
    content = bytearray(WHOLE)
    content[position] = value
    try:
        manifest = decode_manifest(bytes(content))
        assert manifest.server_major > 0
        assert manifest.client_major > 0
    except BackupDamaged:
        pass


@given(field=st.sampled_from(sorted(json.loads(WHOLE))), value=json_values)
@example(field="server_version", value="")
@example(field="client_version", value="devel")
@example(field="tables", value={"public.dog": -1})
def test_decode_manifest_reads_another_value_or_calls_it_damage(field: str, value: object) -> None:
    data = json.loads(WHOLE) | {field: value}
    try:
        manifest = decode_manifest(json.dumps(data).encode())
    except BackupDamaged:
        return
    assert manifest.server_major > 0
    assert manifest.client_major > 0
    assert all(count >= 0 for count in manifest.tables.values())
    assert decode_manifest(encode(manifest)) == manifest


@pytest.mark.parametrize("suffix", ["dump", "json", "state.json"])
@pytest.mark.parametrize("damage", ["folder", "empty", "zeros", "dangling link", "loop"])
def test_list_backups_survives_any_damaged_file_and_finds_the_whole_ones(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    good, bad = store(tmp_path, number=1), store(tmp_path, days=1, number=2)
    path = tmp_path / f"{bad.backup_id}.{suffix}"
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "empty":
        path.touch()
    elif damage == "zeros":
        path.write_bytes(bytes(4096))
    else:
        path.symlink_to(path if damage == "loop" else tmp_path / "nowhere")
    listing = list_backups(tmp_path)
    assert good in listing.backups
    assert load_backup(tmp_path, good.backup_id) == good
    if (suffix, damage) == ("state.json", "dangling link"):
        assert bad.backup_id in {backup.backup_id for backup in listing.backups}
    else:
        assert [problem for problem in listing.problems if problem.name.startswith(bad.backup_id)]


def test_apply_retention_never_touches_a_backup_with_a_damaged_state_or_manifest(tmp_path: Path) -> None:
    backups = [store(tmp_path, days=day, number=day + 1) for day in range(4)]
    state_path(tmp_path, backups[0].backup_id).write_bytes(b"\0")
    manifest_path(tmp_path, backups[1].backup_id).write_bytes(b"\0")
    policy = RetentionPolicy(0, daily=1, weekly=0, monthly=0)
    report = apply_retention(Settings(backup_dir=tmp_path), policy, now=MOMENT + timedelta(days=9), dry_run=False)
    assert [item.backup.backup_id for item in report.deleted] == [backups[2].backup_id]
    assert backups[0].archive_path.exists()
    assert backups[1].archive_path.exists()


def test_apply_retention_keeps_a_pinned_backup_and_says_so(tmp_path: Path) -> None:
    oldest, _ = store(tmp_path, number=1), store(tmp_path, days=1, number=2)
    pin(oldest, "before the move")
    policy = RetentionPolicy(0, daily=1, weekly=0, monthly=0)
    report = apply_retention(Settings(backup_dir=tmp_path), policy, now=MOMENT + timedelta(days=9), dry_run=False)
    assert report.deleted == ()
    assert report.to_dict()["kept"][-1] == {"backup_id": oldest.backup_id, "reason": "pinned"}


def test_apply_retention_deletes_nothing_when_the_policy_is_invalid(tmp_path: Path) -> None:
    backup = store(tmp_path)
    with pytest.raises(PolicyInvalid):
        apply_retention(Settings(backup_dir=tmp_path), RetentionPolicy(0, 0, 0, 0), now=MOMENT, dry_run=False)
    assert list_backups(tmp_path).backups == (backup,)


def test_apply_retention_has_nothing_to_do_without_a_folder(tmp_path: Path) -> None:
    policy = RetentionPolicy(30, daily=7, weekly=4, monthly=12)
    report = apply_retention(Settings(backup_dir=tmp_path / "new"), policy, now=datetime.now(UTC), dry_run=False)
    assert (report.kept, report.deleted) == ((), ())
