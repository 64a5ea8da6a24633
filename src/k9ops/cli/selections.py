"""Runs that a person names by what they have in common: shown, confirmed, then retried or discarded."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Engine

from k9ops.cli.output import print_json, print_remark, print_text
from k9ops.cli.run_view import print_runs
from k9ops.cli.session import name_here, name_requester
from k9ops.cli.since import parse_since
from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid
from k9ops.ledger.browsing import RunFilter
from k9ops.ledger.requests import find_run, get_run
from k9ops.ledger.selections import Action, Selection, change_selected, select_run, select_runs

OptionalRunId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Id of a run, or the beginning of one.", show_default=False)
]
JobOption = Annotated[str | None, typer.Option("--job", help="All of this job.")]
QueueOption = Annotated[str | None, typer.Option("--queue", help="All of this queue.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Created since: 30m, 2h, 7d, or a date.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Created before: 30m, 2h, 7d, or a date.")]
ErrorOption = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="All whose message, error or traceback has this text.")
]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Only say how many and which.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Ask nothing, for scripts.")]

_SHOWN = 20
_DONE = {"retry": "queued again; a worker starts them", "discard": "discarded"}


def select(engine: Engine, settings: Settings, action: Action, run_id: str | None, **given: Any) -> Selection:
    """Return the runs that a command names, by id or by what they have in common.

    Args:
        engine: The ledger's database.
        settings: The process's, for the time zone of dates.
        action: What is to be done with them.
        run_id: One run, or the beginning of its id.
        **given: The options, by the names of `RunFilter`; times as a person writes them.

    Raises:
        ParamsInvalid: It names none, or both; or a time is none.
        RunNotFound: No run has this id.
        RunStateConflict: The action is not for the state of this run.
    """
    now = datetime.now(UTC)
    moments = {
        name: parse_since(text, settings, now=now, option=f"--{name}")
        for name in ("since", "until")
        if (text := given[name]) is not None
    }
    wanted = RunFilter(**{**given, **moments})
    if (run_id is None) == (wanted == RunFilter()):
        raise ParamsInvalid("Name either one run, or what the runs have in common: --job, --state, --queue, --error, …")
    if run_id is not None:
        return select_run(engine, action, find_run(engine, run_id))
    return select_runs(engine, action, wanted)


def carry_out(
    engine: Engine,
    selection: Selection,
    *,
    zone: ZoneInfo,
    reason: str | None,
    is_dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show a selection, ask, and do it.

    Raises:
        ParamsInvalid: There is no terminal to ask on, and `--yes` is missing.
    """
    count = len(selection.run_ids)
    if not as_json:
        print_runs([get_run(engine, run_id) for run_id in selection.run_ids[:_SHOWN]], zone)
        more = f", the oldest of {selection.total}; call again for the rest" if selection.total > count else ""
        print_text(f"{count} runs{more}." if count != 1 else "1 run.")
    done = None
    if count and not is_dry_run:
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise ParamsInvalid(f"Without a terminal, `k9ops runs {selection.action}` needs --yes or --dry-run.")
            typer.confirm(f"{selection.action.capitalize()} these {count} runs?", abort=True, err=True)
        done = change_selected(engine, selection, requested_by=name_requester(), origin=name_here(), reason=reason)
    if as_json:
        document = {"action": selection.action, "filter": selection.wanted.to_dict(), "total": selection.total}
        print_json(document | {"selected": selection.run_ids, "done": done})
    elif done is not None:
        print_text(f"{len(done)} of {count} runs are {_DONE[selection.action]}.")
        if len(done) < count:
            print_remark("The others changed meanwhile and were left as they are.")
