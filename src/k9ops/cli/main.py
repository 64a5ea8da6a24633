"""The entry point of `k9ops`: its commands, and what an error looks like."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from k9ops import __version__
from k9ops.cli import (
    alerts,
    audit,
    backup,
    check,
    config,
    db,
    demo,
    drive,
    inspect,
    jobs,
    logs,
    queue,
    report_subscriptions,
    runs,
    schedule,
    stack,
    web,
)
from k9ops.cli.failures import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, explain_failure
from k9ops.cli.output import print_error, print_text
from k9ops.errors import is_interrupt

app = typer.Typer(
    name="k9ops",
    help="Background service of the K9 Operations Management System.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check.check)
app.command("enqueue")(jobs.enqueue)
app.command("run")(jobs.run)
app.command("logs")(logs.logs)
app.command("watch")(alerts.watch)
app.command("up")(stack.up)
app.command("demo")(demo.demo)
app.add_typer(runs.app, name="runs")
app.add_typer(inspect.app, name="inspect")
app.add_typer(queue.app, name="queue")
app.add_typer(schedule.app, name="schedule")
app.add_typer(backup.app, name="backup")
app.add_typer(drive.app, name="drive")
app.add_typer(report_subscriptions.app, name="report")
app.add_typer(config.app, name="config")
app.add_typer(alerts.app, name="alerts")
app.add_typer(audit.app, name="audit")
app.add_typer(db.app, name="db")
app.add_typer(web.app, name="web")

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 0.02

# Typer's own base class of every complaint about the command line.
_UsageError: Any = typer.BadParameter.__bases__[0]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_text(f"k9ops {__version__}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Background service of the K9 Operations Management System."""


def main() -> None:
    """Run the command line and end the process with one of the documented exit codes."""
    catch_signals()
    _replace_closed_streams()
    sys.exit(run_command(sys.argv[1:]))


def catch_signals() -> None:
    """Let every signal that ends a program interrupt the command in order."""
    for number in _ENDING_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _deliver_again


def _replace_closed_streams() -> None:
    """Write to nowhere where the caller has closed a stream (`>&-`), which Python shows as None."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the process ends


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error is printed, never raised."""
    as_json = "--json" in arguments
    try:
        code = app(arguments, prog_name="k9ops", standalone_mode=False)
    except _UsageError as exc:
        return _explain_usage(exc, as_json=as_json)
    except typer.Abort:
        code = EXIT_INTERRUPTED
    except Exception as exc:
        if not is_interrupt(exc):
            failure = explain_failure(exc)
            print_error(failure.message, kind=failure.kind, as_json=as_json)
            return failure.exit_code
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        print_error("Interrupted.", kind="Interrupted", as_json=as_json)
    return code if isinstance(code, int) else EXIT_OK


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the command in order, once: what is cleaned up then has time limits of its own."""
    for ending in _ENDING_SIGNALS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def _deliver_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupt once more after the interrupt hit a finalizer, where Python drops every exception."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGINT, _interrupt)
    threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)).start()


def _explain_usage(error: Any, *, as_json: bool) -> int:
    message = str(error.format_message()).strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        return EXIT_USAGE
    message = message.replace("Value error, ", "").replace("Input should be", "it must be")
    if error.ctx is not None:
        message = f"{message.rstrip('.')}. Try `{error.ctx.command_path} --help`."
    print_error(message, kind="UsageError", as_json=as_json)
    return EXIT_USAGE
