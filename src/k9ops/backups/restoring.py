"""Feeding an archive to pg_restore, and comparing what came out with the manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence

from k9ops.backups.archives import read_for_restore
from k9ops.backups.catalogue import Backup
from k9ops.backups.clients import PostgresClient, choose_client, find_clients
from k9ops.backups.connections import DatabaseTarget, Session, open_session
from k9ops.backups.contents import ObjectCounter, entries_for_tables, entries_of, list_file
from k9ops.backups.databases import server_version
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.manifest import TableDifference, major_of
from k9ops.backups.programs import run_program
from k9ops.backups.snapshot import count_rows
from k9ops.config.settings import Settings
from k9ops.errors import BackupDamaged, ClientFailed
from k9ops.outcome import Execution

_INDEX_MEMORY = "-c maintenance_work_mem=256MB"

# Such a failure says nothing about the archive.
_SERVER_TROUBLE = (
    "no space left on device",
    "could not extend file",
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "out of memory",
    "the database system is",
)

# It works, although it reads nothing: index builds come last. One that waits for us or for a lock does not.
_BUSY = """
    SELECT FROM pg_stat_activity WHERE datname = %s AND state = 'active'
    AND coalesce(wait_event_type, '') NOT IN ('Client', 'Lock')
"""


def restore_archive(
    settings: Settings,
    backup: Backup,
    target: DatabaseTarget,
    session: Session,
    *,
    options: Sequence[str],
    execution: Execution,
    keys: PrivateKeys | None = None,
    tables: Sequence[str] | None = None,
) -> None:
    """Restore an archive into an empty database; the first error ends it.

    Args:
        settings: Where to look for pg_restore; the time limit.
        backup: What to restore; its digest was checked.
        target: The empty database.
        session: To another database of the same server.
        options: For pg_restore, e.g. `--no-owner`.
        execution: Asked whether to stop; told how many of the archive's objects are restored.
        keys: Open an encrypted archive.
        tables: Labels of the only tables whose rows are wanted; the structure is always whole. None is all.

    Raises:
        BackupDamaged: pg_restore or the decompression cannot make sense of the archive.
        ClientFailed: The server or pg_restore failed for a reason of their own.
        ClientUnsuitable: No pg_restore here suits the server and the archive.
    """
    manifest = backup.manifest
    client = choose_client(
        find_clients(settings),
        server_major=major_of(server_version(session)),
        archive_major=manifest.client_major,
        needs_zstd=manifest.compression == "zstd",
    )

    def is_busy() -> bool:
        return session.execute(_BUSY, [target.database]).fetchone() is not None

    entries = _list_entries(settings, backup, client, target, execution=execution, keys=keys)
    with contextlib.ExitStack() as stack:
        arguments = [client.pg_restore, "--format=custom", "--exit-on-error", "--verbose", *options]
        if tables is not None:
            entries = entries_for_tables(entries, tables, manifest.tables)
            arguments.append(f"--use-list={stack.enter_context(list_file(entries))}")
        counter = ObjectCounter(len(entries), lambda done, total: execution.report_progress(done, total, "objects"))
        result = run_program(
            arguments,
            target=target.with_options(_INDEX_MEMORY),
            execution=execution,
            stall_s=settings.backup_stall_s,
            memory_mb=settings.backup_client_memory_mb,
            source=stack.enter_context(_open_archive(backup, keys)),
            listen=counter.hear,
            is_busy=is_busy,
        )
    if result.return_code == 0 and not result.first_error:
        execution.report_progress(counter.total, counter.total, "objects")
        return
    session.execute("SELECT 1")
    problem = result.problem
    if any(words in result.messages.lower() for words in _SERVER_TROUBLE) or result.return_code < 0:
        raise ClientFailed(f"pg_restore ended with an error: {problem}.", messages=result.messages)
    raise BackupDamaged(f"pg_restore ended with an error: {problem}.", messages=result.messages)


def _open_archive(backup: Backup, keys: PrivateKeys | None) -> contextlib.closing[Generator[bytes]]:
    return contextlib.closing(read_for_restore(backup, keys=keys))


def _list_entries(
    settings: Settings,
    backup: Backup,
    client: PostgresClient,
    target: DatabaseTarget,
    *,
    execution: Execution,
    keys: PrivateKeys | None,
) -> tuple[str, ...]:
    listing = bytearray()
    with _open_archive(backup, keys) as source:
        result = run_program(
            [client.pg_restore, "--format=custom", "--list"],
            target=target,
            execution=execution,
            stall_s=settings.backup_stall_s,
            memory_mb=settings.backup_client_memory_mb,
            source=source,
            sink=listing.extend,
        )
    if result.return_code < 0:
        raise ClientFailed(f"pg_restore ended with an error: {result.problem}.", messages=result.messages)
    if result.return_code != 0:
        raise BackupDamaged(f"pg_restore cannot read the archive: {result.problem}.", messages=result.messages)
    return entries_of(listing.decode(errors="replace"))


def compare_rows(
    target: DatabaseTarget, expected: Mapping[str, int], *, execution: Execution
) -> tuple[int, tuple[TableDifference, ...]]:
    """Count every table of a restored database and compare.

    Returns:
        Rows found, and the tables that differ.
    """
    with open_session(target) as session:
        found = count_rows(session, execution=execution)
    return sum(found.values()), find_differences(expected, found)


def find_differences(expected: Mapping[str, int], found: Mapping[str, int]) -> tuple[TableDifference, ...]:
    """Return the tables whose row counts differ, or that only one side has."""
    return tuple(
        TableDifference(table=table, expected=expected.get(table), found=found.get(table))
        for table in sorted(expected.keys() | found.keys())
        if expected.get(table) != found.get(table)
    )


def describe_differences(differences: Sequence[TableDifference]) -> str:
    """Return one sentence for a person, with the first few tables."""
    parts = [
        f"{item.table} has {'no table' if item.found is None else item.found}"
        f" instead of {'no table' if item.expected is None else item.expected}"
        for item in differences[:3]
    ]
    more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"Row counts differ: {'; '.join(parts)}{more}."
