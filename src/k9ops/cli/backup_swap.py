"""`k9ops backup swap | undo | databases | drop`: what stands beside the live database, and changing places with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from k9ops.backups.connections import target_of
from k9ops.backups.restore import open_maintenance_session
from k9ops.backups.sides import Side, list_sides
from k9ops.backups.swap import choose_undo, undo_swap
from k9ops.backups.tidying import drop_database_beside
from k9ops.cli.backup_restore import QuickFlag, SafetyFlag, YesFlag, compare_here, swap_in
from k9ops.cli.names import Reason, SideName
from k9ops.cli.output import JsonFlag, print_json, print_remark, print_text
from k9ops.cli.restore_guide import confirm_live, require_yes
from k9ops.cli.restore_view import print_changes, print_sides, print_swap
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.settings import Settings


def swap(
    database: SideName,
    yes: YesFlag = False,
    quick: QuickFlag = False,
    safety_backup: SafetyFlag = True,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Put a database that was restored beside the live one in its place; the live one is kept as the undo."""
    settings = open_settings()
    if require_yes(yes=yes, as_json=as_json, command="swap"):
        print_changes(compare_here(settings, database, contents=not quick, is_silent=False))
        confirm_live(settings, database)
    report = swap_in(settings, database, safety_backup=safety_backup, reason=reason, is_silent=as_json)
    if as_json:
        print_json(asdict(report))


def undo(
    database: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The former database to bring back.", show_default="the newest"),
    ] = None,
    yes: YesFlag = False,
    quick: QuickFlag = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Take the last swap back: the former database is live again, and what is live now is kept as the undo of that."""
    settings = open_settings()
    if require_yes(yes=yes, as_json=as_json, command="undo"):
        database = _choose(settings, database)
        print_changes(compare_here(settings, database, contents=not quick, is_silent=False))
        confirm_live(settings, database)
    report = undo_swap(settings, database=database, actor=name_requester(), origin=name_here(), reason=reason)
    if as_json:
        print_json(asdict(report))
    else:
        print_swap(report, settings.zone)


def databases(as_json: JsonFlag = False) -> None:
    """List the databases that k9ops keeps beside the live one: undos, and what was restored."""
    settings = open_settings()
    live = target_of(settings.sqlalchemy_url, settings).database
    with open_maintenance_session(settings) as session:
        sides = list_sides(session, live)
    if as_json:
        print_json({"live": live, "databases": [_side_document(side) for side in sides]})
    else:
        print_sides(sides, settings.zone, live=live)


def drop(database: SideName, yes: YesFlag = False, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Drop a database that k9ops keeps beside the live one, before its time."""
    settings = open_settings()
    if require_yes(yes=yes, as_json=as_json, command="drop"):
        typer.confirm(f"Drop the database {database} for good?", abort=True, err=True)
    side = drop_database_beside(settings, database, actor=name_requester(), origin=name_here(), reason=reason)
    if as_json:
        print_json(_side_document(side))
    else:
        print_text(f"{side.database} is dropped.")


def _choose(settings: Settings, database: str | None) -> str:
    live = target_of(settings.sqlalchemy_url, settings).database
    with open_maintenance_session(settings) as session:
        chosen = choose_undo(session, live, database).database
        undos = [side for side in list_sides(session, live) if side.mark.kind == "undo"]
    print_sides(undos, settings.zone, live=live)
    print_remark(f"{chosen} is to come back.")
    return chosen


def _side_document(side: Side) -> dict[str, Any]:
    return {**side.mark.model_dump(mode="json"), "is_expired": side.is_expired, "size_bytes": side.size_bytes}
