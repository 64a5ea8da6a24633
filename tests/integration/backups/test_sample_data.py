"""Sample data of both generations of the application: backed up, verified and restored on each server version."""

from __future__ import annotations

import uuid
from datetime import date

import psycopg
import pytest
from psycopg import sql
from tests.integration.backups.conftest import Source, make_source

from k9ops.backups.restore import restore_backup
from k9ops.backups.verify import verify_backup
from k9ops.config.settings import Settings
from k9ops.db.application import Generation
from k9ops.db.migrate import upgrade
from k9ops.db.sample import seed
from k9ops.outcome import Execution

_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'k9ops') ORDER BY 1, 2"


def read_all_rows(url: str) -> dict[str, str]:
    """Return a digest of every row of every table, by table."""
    digests = {}
    with psycopg.connect(url) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            query = sql.SQL("SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t")
            [(digest,)] = connection.execute(query.format(sql.Identifier(schema, table))).fetchall()
            digests[f"{schema}.{table}"] = digest
    return digests


@pytest.fixture(params=["database15_url", "database17_url", "database_url"])
def each_empty_source(request: pytest.FixtureRequest, source_settings: Settings) -> Source:
    """An empty database on every server version in turn."""
    return make_source(request.getfixturevalue(request.param), source_settings)


@pytest.mark.parametrize("generation", ["A", "B"])
def test_backup_brings_back_every_row_of_the_application(each_empty_source: Source, generation: Generation) -> None:
    source = each_empty_source
    upgrade(source.engine)
    counts = seed(source.engine, generation, today=date(2026, 11, 24))
    source.engine.dispose()
    backup = source.back_up()
    rows = {name.removeprefix("public."): count for name, count in backup.manifest.tables.items()}
    assert {name: rows[name] for name in counts} == counts

    verification = verify_backup(source.settings, backup, execution=Execution())
    assert (verification.state, verification.reason, verification.differences) == ("verified", None, ())

    before, name = read_all_rows(source.url), f"restored_{uuid.uuid4().hex[:8]}"
    report = restore_backup(source.settings, backup, database=name, execution=Execution())
    try:
        assert report.rows_compared == backup.manifest.row_count
        assert read_all_rows(f"{source.url.rpartition('/')[0]}/{name}") == before
    finally:
        source.run(f"DROP DATABASE {name}")


def test_backup_of_an_empty_database_is_verified(each_empty_source: Source) -> None:
    backup = each_empty_source.back_up()
    assert backup.manifest.tables == {}
    assert verify_backup(each_empty_source.settings, backup, execution=Execution()).state == "verified"
