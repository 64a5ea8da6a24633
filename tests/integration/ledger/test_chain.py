from __future__ import annotations

import uuid

from sqlalchemy import Engine, text

from k9ops.ledger.chain import read_chain
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import record_run


def make(engine: Engine, job: str, parent_id: uuid.UUID | None = None) -> uuid.UUID:
    new = NewRun(job=job, queue="tests", parent_id=parent_id)
    record_run(engine, new, is_sent=True)
    return new.id


def test_chain_has_every_level_each_after_what_started_it(engine: Engine) -> None:
    first = make(engine, "create")
    verify = make(engine, "verify", first)
    upload = make(engine, "upload", first)
    keep = make(engine, "keep", verify)
    make(engine, "another")
    for run_id in (first, verify, upload, keep):
        found = [(level, run.job) for level, run in read_chain(engine, run_id)]
        assert found == [(0, "create"), (1, "verify"), (2, "keep"), (1, "upload")]


def test_chain_begins_where_the_ledger_begins_and_is_bounded(engine: Engine) -> None:
    orphan = make(engine, "orphan", uuid.uuid4())
    assert [(level, run.id) for level, run in read_chain(engine, orphan)] == [(0, orphan)]
    with engine.begin() as connection:
        statement = text("""
            INSERT INTO k9ops.run (id, job, queue, trigger, parent_id)
            SELECT gen_random_uuid(), 'many', 'tests', 'follow_up', :parent FROM generate_series(1, 500)
        """)
        connection.execute(statement, {"parent": orphan})
    assert len(read_chain(engine, orphan)) == 200
    loop = make(engine, "loop")
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET parent_id = id WHERE id = :id"), {"id": loop})
    assert len(read_chain(engine, loop)) <= 200
