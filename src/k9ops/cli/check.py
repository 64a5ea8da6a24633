"""`k9ops check`: is everything that the service needs there and as it must be?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.text import Text

from k9ops.cli.checks.backups import (
    check_backup_folder,
    check_backup_keys,
    check_clients,
    check_last_backup,
    check_uploads_folder,
)
from k9ops.cli.checks.broker import check_broker
from k9ops.cli.checks.clocks import check_clocks
from k9ops.cli.checks.database import check_application, check_database, check_migrations
from k9ops.cli.checks.drive import check_drive, check_drive_credentials
from k9ops.cli.checks.finding import Finding, run_check
from k9ops.cli.checks.mail import check_mail
from k9ops.cli.checks.rabbitmq import check_rabbitmq
from k9ops.cli.checks.scheduler import check_scheduler
from k9ops.cli.checks.workers import check_actors, check_canaries
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.output import JsonFlag, output_console, print_json, style_state
from k9ops.cli.session import open_settings
from k9ops.config.settings import get_loaded_settings
from k9ops.errors import SettingsInvalid

_NAME_WIDTH = 19


def check(
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long workers may take for the canaries.")
    ] = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Check settings, database, Redis, backups and workers; exits 1 when anything fails."""
    findings = []
    for finding in find_all(timeout_s):
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    is_ok = all(finding.status != "fail" for finding in findings)
    if as_json:
        print_json({"is_ok": is_ok, "checks": [finding.to_dict() for finding in findings]})
    if not is_ok:
        raise typer.Exit(EXIT_FAILED)


def find_all(timeout_s: float) -> Iterator[Finding]:
    """Make every check; one that fails hides no other, except that nothing can be said without settings."""
    try:
        settings = open_settings()
    except SettingsInvalid as exc:
        advice = "Correct these variables; `.env.example` has all of them. Nothing else can be checked before."
        yield Finding("settings", "fail", exc.user_message, advice)
        return
    yield judge_unknown(get_loaded_settings().unknown)
    for name, action in (
        ("database", lambda: check_database(settings)),
        ("migrations", check_migrations),
        ("application", check_application),
        ("rabbitmq", lambda: check_rabbitmq(settings))
        if settings.is_rabbitmq
        else ("redis", lambda: check_broker(settings)),
        ("pg_dump", lambda: check_clients(settings)),
        ("backup folder", lambda: check_backup_folder(settings)),
        ("uploads folder", lambda: check_uploads_folder(settings)),
        ("last backup", lambda: check_last_backup(settings)),
        ("drive credentials", lambda: check_drive_credentials(settings)),
        ("google drive", lambda: check_drive(settings)),
        ("mail", lambda: check_mail(settings)),
        ("backup keys", lambda: check_backup_keys(settings)),
        ("scheduler", lambda: check_scheduler(settings)),
        ("actors", check_actors),
        ("clocks", lambda: check_clocks(settings)),
        ("queues", lambda: check_canaries(settings, timeout_s=timeout_s)),
    ):
        yield from run_check(name, action)


def judge_unknown(names: Sequence[str]) -> Finding:
    """Return the finding for variables that nothing reads: one that is misspelt leaves its default in force."""
    if not names:
        return Finding("settings", "ok", "Every variable has a value that can be used.")
    message = f"Nothing reads {', '.join(names)}: the default is in force instead of what was meant."
    return Finding("settings", "warn", message, "Correct the name; `k9ops config show` has all of them.")


def _print_finding(finding: Finding) -> None:
    line = Text.assemble(style_state(finding.status), " " * (5 - len(finding.status)))
    line.append(f"{finding.name:<{_NAME_WIDTH}} {finding.message}")
    output_console().print(line, soft_wrap=True)
    if finding.advice:
        output_console().print(Text(f"{'':<{_NAME_WIDTH + 6}}→ {finding.advice}", style="dim"), soft_wrap=True)
