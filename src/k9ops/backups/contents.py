"""What an archive holds, as pg_restore lists it: how many objects, and which of them to restore."""

from __future__ import annotations

import contextlib
import difflib
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from k9ops.errors import ParamsInvalid

_DATA = "TABLE DATA "
_LABEL = re.compile(r'("(?:[^"]|"")*"|[^."]*)\.("(?:[^"]|"")*"|[^."]*)')
# Without the rows of the other tables these would fail or be wrong.
_LEFT_OUT = ("FK CONSTRAINT ", "MATERIALIZED VIEW DATA ", "BLOB", "LARGE OBJECT")
_WORKING = ("creating ", "processing ", "executing ")


def entries_of(listing: str) -> tuple[str, ...]:
    """Return the entries of `pg_restore --list`, one for each object."""
    return tuple(line for line in listing.splitlines() if line and not line.startswith(";"))


def choose_tables(names: Collection[str], known: Mapping[str, int]) -> tuple[str, ...]:
    """Return the labels of tables as the manifest has them.

    Args:
        names: As a person typed them; without a schema they are of `public`.
        known: The manifest's tables.

    Raises:
        ParamsInvalid: None is named, or the backup has no such table; says which is like it.
    """
    chosen = []
    for name in names:
        label = name if name in known else f"public.{name}"
        if label not in known:
            alike = difflib.get_close_matches(label, known, n=3)
            hint = f" Did you mean {', '.join(alike)}?" if alike else ""
            raise ParamsInvalid(f"The backup has no table {name}.{hint}")
        chosen.append(label)
    if not chosen:
        raise ParamsInvalid("No table is named.")
    return tuple(sorted(set(chosen)))


def entries_for_tables(entries: Collection[str], tables: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    """Return the entries that make the whole structure, but only the rows of some tables, in their order.

    Foreign keys are left out: the rows that they point to may not be there.

    Args:
        entries: Of the whole archive.
        tables: Labels of the tables whose rows are wanted.
        known: Labels of all tables of the backup.
    """
    return tuple(entry for entry in entries if _is_wanted(_tag_of(entry), tables, known))


@contextlib.contextmanager
def list_file(entries: Collection[str]) -> Iterator[Path]:
    """Write entries into a file for `--use-list`, which goes at the end of the block."""
    with tempfile.NamedTemporaryFile("w", prefix="k9ops-list-", encoding="utf-8") as file:
        file.write("\n".join(entries) + "\n")
        file.flush()
        yield Path(file.name)


class ObjectCounter:
    """Counts the objects that `pg_restore --verbose` says it is working on.

    Args:
        total: How many there are.
        report: Told (done, total) when another one is done.
    """

    def __init__(self, total: int, report: Callable[[int, int], None]) -> None:
        self.total = total
        self.begun = 0
        self._report = report

    def hear(self, line: str) -> None:
        """Take a line of its standard error."""
        if line.partition("pg_restore: ")[2].startswith(_WORKING):
            self._report(min(self.begun, self.total), self.total)
            self.begun += 1


def _tag_of(entry: str) -> str:
    """Return what follows the numbers, e.g. `TABLE DATA public dog k9`."""
    return entry.partition("; ")[2].split(" ", 2)[-1]


def _is_wanted(tag: str, tables: Collection[str], known: Collection[str]) -> bool:
    if tag.startswith(_DATA):
        # A name may hold spaces, and the owner follows: the longest that fits is the one.
        words = tag.removeprefix(_DATA)
        fitting = [label for label in known if words.startswith(f"{_listed(label)} ")]
        return bool(fitting) and max(fitting, key=len) in tables
    return not tag.startswith(_LEFT_OUT)


def _listed(label: str) -> str:
    """Return a label as pg_restore lists the table: `schema name`, never quoted."""
    schema, name = split_label(label)
    return f"{schema} {name}"


def split_label(label: str) -> tuple[str, str]:
    """Return schema and name of `table_label`."""
    match = _LABEL.fullmatch(label)
    if match is None:
        raise ValueError(f"{label!r} is no label of a table")
    schema, name = (part[1:-1].replace('""', '"') if part.startswith('"') else part for part in match.groups())
    return schema, name
