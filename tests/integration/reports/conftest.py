"""The sample unit of each generation, in databases that these tests leave as they were, and reports made from it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, text

from k9ops.config.settings import Settings
from k9ops.db.application import Generation
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.db.sample import seed
from k9ops.embedded.postgres import PostgresServer
from k9ops.outcome import Execution, Outcome
from k9ops.reports import jobs
from k9ops.reports.artefacts import Artefact, load_artefact
from k9ops.reports.catalogue import find_report
from k9ops.reports.data import ReportData, read_report
from k9ops.reports.parameters import check_parameters

TODAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)


@dataclass
class Unit:
    """A generation's sample data, and a folder for reports."""

    generation: Generation
    settings: Settings
    engine: Engine

    def read(self, report: str, folder: Path, /, *, max_rows: int = 100_000, **given: str) -> ReportData:
        definition = find_report(report)
        if report == "handler_report" and "report" not in given:
            given["report"] = self.any_report_id()
        values = check_parameters(definition, given, today=TODAY)
        options: dict[str, Any] = {"today": TODAY, "folder": folder, "execution": Execution(), "max_rows": max_rows}
        return read_report(self.engine, self.settings, definition, values, **options)

    def create(self, report: str, *, execution: Execution | None = None, **options: Any) -> Outcome:
        execution = execution or Execution(requested_at=NOW)
        return jobs.create(self.settings, self.engine, execution=execution, report=report, **options)

    def make(self, report: str, **options: Any) -> tuple[Artefact, bytes]:
        outcome = self.create(report, **options)
        artefact = load_artefact(self.settings.reports_dir, outcome.evidence["artefact_id"])
        return artefact, (self.settings.reports_dir / artefact.file_name).read_bytes()

    def with_settings(self, **changes: object) -> Unit:
        return Unit(self.generation, self.settings.model_copy(update=changes), self.engine)

    def scalar(self, statement: str, values: Mapping[str, Any] | None = None) -> Any:
        with self.engine.begin() as connection:
            return connection.scalar(text(statement), dict(values or {}))

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), dict(values or {}))

    def any_report_id(self) -> str:
        return str(
            self.scalar(
                "SELECT r.id FROM public.handler_report r JOIN public.handler_report_training t ON t.report_id = r.id"
                " JOIN public.handler_report_incident i ON i.report_id = r.id ORDER BY r.id LIMIT 1"
            )
        )


def make_unit(server: PostgresServer, generation: Generation, folder: Path) -> Iterator[Unit]:
    name = f"reports_{generation.lower()}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    settings = Settings(database_url=f"{server.url.rpartition('/')[0]}/{name}", reports_dir=folder / "reports")  # type: ignore[arg-type]
    engine = create_engine_for(settings.sqlalchemy_url, settings, application_name="k9ops test:1")
    upgrade(engine)
    seed(engine, generation, today=TODAY)
    yield Unit(generation, settings, engine)
    engine.dispose()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def seeded_a(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    yield from make_unit(postgres_server, "A", tmp_path_factory.mktemp("a"))


@pytest.fixture(scope="session")
def seeded_b(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    yield from make_unit(postgres_server, "B", tmp_path_factory.mktemp("b"))


@pytest.fixture(params=["A", "B"])
def each_unit(request: pytest.FixtureRequest, tmp_path: Path) -> Unit:
    """Either generation, with an empty folder of reports."""
    unit: Unit = request.getfixturevalue(f"seeded_{request.param.lower()}")
    return unit.with_settings(reports_dir=tmp_path / "reports")


@pytest.fixture
def unit(seeded_b: Unit, tmp_path: Path) -> Unit:
    """Generation B, with an empty folder of reports."""
    return seeded_b.with_settings(reports_dir=tmp_path / "reports")
