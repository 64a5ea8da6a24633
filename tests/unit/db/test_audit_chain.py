from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k9ops.db.audit_chain import START, Anchor, Entry, check_entries, hash_entry

TEXTS = st.none() | st.text(max_size=12)


def make_chain(*contents: str | None) -> list[Entry]:
    entries, previous = [], START
    for number, content in enumerate(contents, start=1):
        fields = ("2026-11-26T00:00:00.000000Z", "omar", content)
        digest = hash_entry(previous, number, fields)
        entries.append(Entry(number, previous, digest, fields))
        previous = digest
    return entries


def head_of(entries: list[Entry], chain_id: str = "here") -> Anchor:
    return Anchor(chain_id, entries[-1].id, entries[-1].hash.hex(), "the head") if entries else EMPTY


EMPTY = Anchor("here", 0, START.hex(), "the head")
FIVE = make_chain("a", "b", None, "d", "e")


def test_hash_entry_is_the_form_that_is_documented() -> None:
    written = START + r"'7','O''mar',NULL,'كلب',E'a\\''b'".encode()
    assert hash_entry(START, 7, ("O'mar", None, "كلب", r"a\'b")) == hashlib.sha256(written).digest()


def test_hash_entry_tells_values_apart_that_read_the_same_together() -> None:
    forms = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc", ""),
        ("abc", None),
        (None, "abc"),
        ("ab','c",),
        ("NULL", "abc"),
        ("", "abc"),
    ]
    assert len({hash_entry(START, 1, form) for form in forms}) == len(forms)


def test_whole_chain_has_no_problem() -> None:
    report = check_entries(FIVE, head=head_of(FIVE), anchors=[head_of(FIVE[:3]), EMPTY])
    assert (report.entries, report.anchors, report.other_anchors, report.problem) == (5, 2, 0, None)
    assert check_entries([], head=EMPTY).problem is None


@given(contents=st.lists(TEXTS, min_size=1, max_size=8), data=st.data())
def test_first_entry_that_was_changed_is_named(contents: list[str | None], data: st.DataObject) -> None:
    chain = make_chain(*contents)
    position = data.draw(st.integers(0, len(chain) - 1))
    content = data.draw(TEXTS.filter(lambda text: text != contents[position]))
    entry = chain[position]
    chain[position] = replace(entry, fields=(*entry.fields[:2], content))
    problem = check_entries(chain, head=head_of(chain)).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (entry.id, "changed")


@given(contents=st.lists(TEXTS, min_size=2, max_size=8), data=st.data())
def test_first_entry_that_was_removed_is_named(contents: list[str | None], data: st.DataObject) -> None:
    chain = make_chain(*contents)
    head = head_of(chain)
    first = data.draw(st.integers(0, len(chain) - 1))
    last = data.draw(st.integers(first, len(chain) - 1))
    problem = check_entries(chain[:first] + chain[last + 1 :], head=head).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (first + 1, "removed")


def test_entries_that_changed_places_are_named_with_where_they_were() -> None:
    chain, second, fourth = list(FIVE), FIVE[1], FIVE[3]
    chain[1], chain[3] = replace(fourth, id=2), replace(second, id=4)
    problem = check_entries(chain, head=head_of(FIVE)).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (2, "moved")
    assert "written as entry 4" in problem.message


def test_entry_that_was_replaced_with_a_right_hash_is_named() -> None:
    forged = [*FIVE[:2], replace(make_chain("a", "b", "forged")[2]), *FIVE[3:]]
    problem = check_entries(forged, head=head_of(FIVE)).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (3, "changed")


def test_last_entry_that_was_replaced_differs_from_the_head() -> None:
    forged = [*FIVE[:4], make_chain("a", "b", None, "d", "forged")[4]]
    problem = check_entries(forged, head=head_of(FIVE)).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (5, "changed")


def test_entry_beyond_the_head_was_added() -> None:
    problem = check_entries(FIVE, head=head_of(FIVE[:3])).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (4, "added")


def test_chain_that_was_written_anew_differs_from_a_note_elsewhere() -> None:
    anew = make_chain("a", "b", "forged", "d", "e")
    notes = [head_of(FIVE[:2]), replace(head_of(FIVE[:4]), noted_in="backup X")]
    report = check_entries(anew, head=head_of(anew), anchors=notes)
    assert report.problem is not None
    assert (report.problem.entry_id, report.problem.kind) == (3, "changed")
    assert report.problem.message == "An entry from 3 to 4 was replaced: backup X has noted another hash."


def test_end_that_was_cut_off_together_with_the_head_is_known_from_a_note_elsewhere() -> None:
    note = replace(head_of(FIVE), noted_in="backup X")
    report = check_entries(FIVE[:3], head=head_of(FIVE[:3]), anchors=[note])
    assert report.problem is not None
    assert report.problem.message == "Entries 4 to 5 were removed, as backup X shows."


@pytest.mark.parametrize(("last_id", "counts"), [(2, (1, 0)), (3, (0, 1)), (5, (0, 1))])
def test_note_of_a_former_chain_holds_up_to_where_the_next_began(last_id: int, counts: tuple[int, int]) -> None:
    """A restored copy goes on from the entries of its backup; what came later in the original is not in it."""
    restored = make_chain("a", "b", "the restored copy begins", "x")
    restored[2] = replace(restored[2], ends_chain="original")
    note = head_of(FIVE[:last_id], "original")
    report = check_entries(restored, head=head_of(restored), anchors=[note])
    assert (report.anchors, report.other_anchors, report.problem) == (*counts, None)


def test_note_of_a_strange_chain_says_nothing() -> None:
    report = check_entries(FIVE, head=head_of(FIVE), anchors=[Anchor("strange", 2, "0" * 64, "backup X")])
    assert (report.anchors, report.other_anchors, report.problem) == (0, 1, None)
