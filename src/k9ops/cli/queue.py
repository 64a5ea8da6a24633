"""`k9ops queue`: pause a queue and let it go on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from k9ops.broker.inspection import find_queue
from k9ops.cli.names import Reason, load_broker
from k9ops.cli.output import JsonFlag, print_json, print_text
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.db.engine import get_engine
from k9ops.errors import K9opsError
from k9ops.ledger.queues import pause_queue, read_pauses, resume_queue

app = typer.Typer(help="Pause a queue, and let it go on; `k9ops inspect queues` shows them.", no_args_is_help=True)


def _complete_queue(incomplete: str) -> list[str]:
    try:
        return sorted(name for name in load_broker().get_declared_queues() if name.startswith(incomplete))
    except K9opsError:
        return []


QueueName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a queue, e.g. reports.", autocompletion=_complete_queue)
]


@app.command("pause")
def pause(name: QueueName, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Let no worker begin another run of a queue; what runs goes on, what comes waits in the ledger."""
    open_settings()
    queue = find_queue(get_engine(), load_broker(), name)
    is_changed = pause_queue(get_engine(), queue, paused_by=name_requester(), origin=name_here(), reason=reason)
    words = "is paused: its runs wait until it is resumed." if is_changed else "was paused already."
    _answer(queue, words, is_changed=is_changed, as_json=as_json)


@app.command("resume")
def resume(name: QueueName, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Let the runs of a paused queue begin again, those that waited first."""
    open_settings()
    queue = find_queue(get_engine(), load_broker(), name)
    is_changed = resume_queue(get_engine(), queue, resumed_by=name_requester(), origin=name_here(), reason=reason)
    words = "goes on: the runs that wait are sent now." if is_changed else "was not paused."
    _answer(queue, words, is_changed=is_changed, as_json=as_json)


def _answer(queue: str, words: str, *, is_changed: bool, as_json: bool) -> None:
    if as_json:
        found = read_pauses(get_engine()).get(queue)
        print_json({"queue": queue, "is_changed": is_changed, "pause": asdict(found) if found else None})
    else:
        print_text(f"{queue} {words}")
