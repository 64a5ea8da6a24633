"""`k9ops db`: k9ops' own tables, and sample data."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.output import JsonFlag, print_json, print_table, print_text
from k9ops.cli.progress import show_progress
from k9ops.cli.session import open_settings
from k9ops.db import migrate
from k9ops.db.application import Generation
from k9ops.db.engine import database_errors, get_engine
from k9ops.db.privileges import grant_service
from k9ops.db.sample import seed as seed_database

app = typer.Typer(help="Make and check the tables of k9ops; make sample data.", no_args_is_help=True)


class GenerationName(StrEnum):
    """A generation of the application's tables, as it is typed."""

    A = "A"
    B = "B"

    @property
    def generation(self) -> Generation:
        """As the database room names it."""
        return self.value


GenerationOption = Annotated[
    GenerationName,
    typer.Option("--generation", help="Of the application's tables: A (2025) or B (2026)."),
]


@app.command("upgrade")
def upgrade(
    service_role: Annotated[
        str | None,
        typer.Option(
            "--service-role",
            metavar="NAME",
            help="Give this role what the service needs; it may not change or remove audit entries.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the tables of k9ops to the newest revision; schema public is not touched."""
    open_settings()
    before = migrate.current(get_engine())
    after = migrate.upgrade(get_engine())
    if service_role is not None:
        grant_service(get_engine(), service_role)
    if as_json:
        print_json({"before": before, "after": after, "service_role": service_role})
    elif before == after:
        print_text(f"The tables of k9ops are at revision {after} already.")
    else:
        print_text(f"The tables of k9ops are at revision {after} now (before: {before or 'none'}).")


@app.command("current")
def current(as_json: JsonFlag = False) -> None:
    """Print the revision of the tables of k9ops."""
    open_settings()
    revision = migrate.current(get_engine())
    if as_json:
        print_json({"current": revision})
    else:
        print_text(revision or "There are no tables of k9ops yet: run `k9ops db upgrade`.")


@app.command("check")
def check(as_json: JsonFlag = False) -> None:
    """Tell whether the tables are at the newest revision; exits 1 when they are not."""
    open_settings()
    revision, newest = migrate.check(get_engine())
    is_current = revision == newest
    if as_json:
        print_json({"current": revision, "head": newest, "is_current": is_current})
    elif is_current:
        print_text(f"The tables of k9ops are at the newest revision, {newest}.")
    else:
        print_text(f"The tables of k9ops are at {revision or 'no revision'}, not at {newest}: run `k9ops db upgrade`.")
    if not is_current:
        raise typer.Exit(EXIT_FAILED)


@app.command("seed")
def seed(
    generation: GenerationOption = GenerationName.B,
    force: Annotated[bool, typer.Option("--force", help="Also into a database that has K9 users.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill the database with sample data; makes the application's tables where there are none."""
    settings = open_settings()
    today = datetime.now(settings.zone).date()
    with database_errors(), show_progress("Making sample data", is_silent=as_json) as display:
        counts = seed_database(get_engine(), generation.generation, today=today, force=force, progress=display.report)
    if as_json:
        print_json({"generation": str(generation), "rows": counts})
        return
    rows = [[table, f"{count:,}"] for table, count in sorted(counts.items())]
    print_table(("table", ">rows"), [*rows, ["all", f"{sum(counts.values()):,}"]], empty="")
