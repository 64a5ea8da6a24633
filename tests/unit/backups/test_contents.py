"""What pg_restore lists and says, and what is made of it."""

from __future__ import annotations

import pytest

from k9ops.backups.contents import (
    ObjectCounter,
    choose_tables,
    entries_for_tables,
    entries_of,
    list_file,
    split_label,
)
from k9ops.backups.snapshot import table_label
from k9ops.errors import ParamsInvalid

LISTING = """;
; Archive created at 2026-11-25 20:44:36 UTC
;     dbname: k9
;
7; 2615 16386 SCHEMA - With.Dot k9ops
223; 1259 16404 TABLE With.Dot Quote"d k9ops
220; 1259 16388 TABLE public notification k9ops
2622; 0 16404 TABLE DATA With.Dot Quote"d k9ops
2623; 0 16411 TABLE DATA public dog k9ops
2624; 0 16416 TABLE DATA public dog visit k9ops
2619; 0 16388 TABLE DATA public notification k9 owner
2642; 0 0 SEQUENCE SET public dog_id_seq k9ops
2634; 0 0 BLOBS - 4711 k9ops
2466; 2606 16394 CONSTRAINT public notification notification_pkey k9ops
2470; 2606 16457 FK CONSTRAINT public dog dog_id_fkey k9ops
2629; 0 16439 MATERIALIZED VIEW DATA public totals k9ops
"""
KNOWN = {'"With.Dot"."Quote""d"': 3, "public.dog": 1, "public.dog visit": 2, "public.notification": 9}


def chosen_from_listing(*tables: str) -> list[str]:
    entries = entries_for_tables(entries_of(LISTING), tables, KNOWN)
    return [entry.split(" ", 3)[3] for entry in entries if "DATA" in entry]


def test_entries_of_leaves_the_remarks_out() -> None:
    assert len(entries_of(LISTING)) == 12


def test_entries_for_tables_keeps_the_structure_and_the_rows_of_those_tables() -> None:
    kept = entries_for_tables(entries_of(LISTING), ["public.notification"], KNOWN)
    assert [entry.split("; ")[0] for entry in kept] == ["7", "223", "220", "2619", "2642", "2466"]


def test_entries_for_tables_tells_names_with_spaces_and_quotes_apart() -> None:
    assert chosen_from_listing("public.dog") == ["TABLE DATA public dog k9ops"]
    assert chosen_from_listing("public.dog visit") == ["TABLE DATA public dog visit k9ops"]
    assert chosen_from_listing('"With.Dot"."Quote""d"') == ['TABLE DATA With.Dot Quote"d k9ops']


@pytest.mark.parametrize("name", [("public", "dog"), ("With.Dot", 'Quote"d'), ('a".b', '".'), ("مخطط", "الكلاب")])
def test_split_label_is_the_reverse_of_table_label(name: tuple[str, str]) -> None:
    assert split_label(table_label(*name)) == name


def test_choose_tables_takes_public_for_granted_and_hints_at_what_is_alike() -> None:
    assert choose_tables(["dog", "public.notification", "dog"], KNOWN) == ("public.dog", "public.notification")
    with pytest.raises(ParamsInvalid, match=r"no table notifcation. Did you mean public.notification\?"):
        choose_tables(["notifcation"], KNOWN)
    with pytest.raises(ParamsInvalid, match="No table is named"):
        choose_tables([], KNOWN)


def test_list_file_goes_at_the_end() -> None:
    with list_file(["1; 2 3 TABLE public كلب k9"]) as path:
        assert path.read_text(encoding="utf-8") == "1; 2 3 TABLE public كلب k9\n"
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_object_counter_counts_what_has_begun() -> None:
    told: list[tuple[int, int]] = []
    counter = ObjectCounter(2, lambda done, total: told.append((done, total)))
    for line in (
        "pg_restore: connecting to database for restore",
        'pg_restore: creating TABLE "public.dog"',
        'pg_restore: processing data for table "public.dog"',
        "pg_restore: executing SEQUENCE SET dog_id_seq",
    ):
        counter.hear(line)
    assert told == [(0, 2), (1, 2), (2, 2)]
