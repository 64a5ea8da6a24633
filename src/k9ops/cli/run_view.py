"""How a run looks: a row of a list, a page of its own, a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import RenderableType
from rich.text import Text

from k9ops.broker.jobs import hide_private_params
from k9ops.cli.names import load_broker
from k9ops.cli.output import (
    format_bytes,
    format_duration,
    format_moment,
    output_console,
    print_fields,
    print_table,
    print_text,
    style_state,
)
from k9ops.ledger.model import Run

SHORT_ID = 8
LINE_HEAD = frozenset({"at", "level", "event", "attempt"})

_COUNTS = frozenset({"rows", "tables", "rows_compared", "tables_compared"})


def print_runs(runs: Sequence[Run], zone: ZoneInfo) -> None:
    """Print a list of runs, one line each."""
    rows: list[list[RenderableType]] = [
        [
            str(run.id)[:SHORT_ID],
            run.job,
            style_state(run.state),
            format_moment(run.created_at, zone),
            format_duration(run.duration_s),
            str(run.attempt),
            run.requested_by or run.trigger,
            run.message or "",
        ]
        for run in runs
    ]
    columns = ("id", "job", "state", f"created ({zone.key})", ">took", ">attempt", "asked by", "message")
    print_table(columns, rows, empty="No runs.")


def print_run(
    run: Run,
    zone: ZoneInfo,
    *,
    chain: Sequence[tuple[int, Run]] = (),
    log: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Print everything that the ledger knows about a run, its chain if it is not alone in it."""
    print_fields(
        {
            "run": str(run.id),
            "job": f"{run.job} (queue {run.queue})",
            "state": style_state(run.state),
            "message": run.message,
            "params": _one_line(hide_private_params(load_broker(), run).params) if run.params else None,
            "asked by": f"{run.requested_by or 'unknown'} ({run.trigger})",
            "slot": format_moment(run.slot, zone) if run.slot else None,
            "created": format_moment(run.created_at, zone),
            "due": format_moment(run.due_at, zone) if not run.is_final else None,
            "sent": f"{format_moment(run.sent_at, zone)} ({run.sends} times)" if run.sends > 1 else None,
            "started": format_moment(run.started_at, zone) if run.started_at else None,
            "finished": format_moment(run.finished_at, zone) if run.finished_at else None,
            "took": format_duration(run.duration_s) if run.duration_s is not None else None,
            "attempt": f"{run.attempt} (path: {run.path})" if run.path else str(run.attempt),
            "worker": run.lease_owner,
            "progress": _one_line(run.progress) if run.progress and not run.is_final else None,
            "error": run.error_class,
        }
    )
    if run.evidence:
        print_text("\nevidence")
        print_evidence(run.evidence)
    if run.history:
        print_text("\nearlier attempts")
        _print_history(run.history)
    if len(chain) > 1:
        print_text("\nchain")
        _print_chain(run, chain, zone)
    if log:
        print_text("\nlog")
        for line in log:
            print_text(f"  {_describe_line(line)}")
    if run.traceback:
        print_text(f"\n{run.traceback.rstrip()}")


def print_outcome(run: Run, *, with_evidence: bool = True) -> None:
    """Print how a run ended: one line, and the evidence below it."""
    line = Text.assemble((run.job, "bold"), "  ", style_state(run.state), f"  {run.message or ''}")
    line.append(f"  ({format_duration(run.duration_s)}, run {str(run.id)[:SHORT_ID]})", style="dim")
    output_console().print(line, soft_wrap=True)
    if with_evidence and run.evidence:
        print_evidence(run.evidence, indent="  ")


def print_evidence(evidence: Mapping[str, Any], *, indent: str = "") -> None:
    """Print evidence, sizes and counts readable; empty lists are left out."""
    print_fields(
        {f"{indent}{_label(name)}": _readable(name, value) for name, value in evidence.items() if value not in ([], {})}
    )


def run_dict(run: Run) -> dict[str, Any]:
    """Return the JSON form of a run, without the values that its job declares private."""
    return hide_private_params(load_broker(), run).to_dict()


def run_document(
    run: Run,
    *,
    parent: Run | None = None,
    follow_ups: Sequence[Run] = (),
    chain: Sequence[tuple[int, Run]] | None = None,
    log: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the JSON form of a run with its neighbours, and with its chain and what it logged where that was read."""
    return {
        **({"log": list(log)} if log is not None else {}),
        **({"chain": [{"level": level, **_summarise(item)} for level, item in chain]} if chain is not None else {}),
        "run": run_dict(run),
        "parent": run_dict(parent) if parent else None,
        "follow_ups": [run_dict(item) for item in follow_ups],
    }


def _describe_line(line: Mapping[str, Any]) -> str:
    fields = " ".join(f"{name}={value}" for name, value in line.items() if name not in LINE_HEAD)
    return f"{line.get('at', '')} {line.get('level', '')} {line.get('event', '')} {fields}".rstrip()


def _summarise(run: Run) -> dict[str, Any]:
    document = run.to_dict()
    return {name: document[name] for name in ("id", "parent_id", "job", "state", "created_at", "message")}


def _print_chain(run: Run, chain: Sequence[tuple[int, Run]], zone: ZoneInfo) -> None:
    for level, item in chain:
        line = Text.assemble(f"{'  ' * (level + 1)}{item.job} {str(item.id)[:SHORT_ID]}  ", style_state(item.state))
        line.append(f"  {format_moment(item.created_at, zone)}  {item.message or ''}".rstrip())
        if item.id == run.id:
            line.append("  (this run)", style="bold")
        output_console().print(line, soft_wrap=True)


def _print_history(history: Sequence[Mapping[str, Any]]) -> None:
    rows: list[list[RenderableType]] = [
        [
            str(item.get("attempt", "")),
            style_state(str(item.get("outcome", ""))),
            str(item.get("ended_at") or ""),
            str(item.get("worker") or ""),
            str(item.get("message") or ""),
        ]
        for item in history
    ]
    print_table((">attempt", "outcome", "ended", "worker", "message"), rows, empty="")


def _label(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_s").replace("_", " ")


def _readable(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int | float) and name.endswith("_bytes"):
        return f"{format_bytes(value)} ({value:,} bytes)"
    if isinstance(value, int | float) and name.endswith("_s"):
        return format_duration(value)
    if isinstance(value, int) and name in _COUNTS:
        return f"{value:,}"
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return "\n".join(", ".join(str(part) for part in item.values()) for item in value)
    return value if isinstance(value, str) else _one_line(value)


def _one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
