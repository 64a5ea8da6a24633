"""The audit chain on real servers: writers side by side, every kind of tampering, a role that may only append."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from k9ops.db import migrate
from k9ops.db.audit import AuditEvent, append_event, list_events
from k9ops.db.audit_chain import Anchor, verify_chain
from k9ops.db.migrate import upgrade
from k9ops.db.privileges import grant_service
from k9ops.errors import DatabaseInvalid

from .conftest import Connect


@pytest.fixture
def chain(any_engine: Engine) -> Engine:
    upgrade(any_engine)
    return any_engine


def event(number: int) -> AuditEvent:
    return AuditEvent(
        actor="عمر",
        origin="cli on k9\nserver",
        action="pause",
        target_type="schedule",
        target_id=str(number),
        reason="صيانة \x00 \ud800 O'Neil \\ '\\'",
        before={"paused": False, "weight": 1.50, "big": 10**20, "tiny": 1e-9},
        after={"paused": True, "nested": {"b": [1, None], "a": "ك\x00"}},
        run_id=uuid.uuid4() if number % 2 else None,
    )


def append(engine: Engine, count: int) -> None:
    with engine.begin() as connection:
        for number in range(count):
            append_event(connection, event(number))


def tamper(engine: Engine, statement: str) -> None:
    """Do what only the owner of the tables can."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE k9ops.audit_event DISABLE TRIGGER USER"))
        connection.execute(text(statement))
        connection.execute(text("ALTER TABLE k9ops.audit_event ENABLE TRIGGER USER"))


def test_entries_are_read_as_they_were_appended_and_the_chain_is_whole(chain: Engine) -> None:
    append(chain, 3)
    with chain.begin() as connection:
        newest, *_ = list_events(connection, actor="عمر", target_type="schedule", target_id="2", limit=1)
        assert [item.id for item in list_events(connection, before_id=3)] == [2, 1]
    assert (newest.id, newest.reason) == (3, "صيانة \ufffd ? O'Neil \\ '\\'")
    assert newest.before == {"paused": False, "weight": 1.5, "big": 10**20, "tiny": 1e-9}
    report = verify_chain(chain)
    assert (report.entries, report.hash, report.problem) == (3, newest.hash, None)


def test_statement_of_many_rows_is_linked_row_by_row(chain: Engine) -> None:
    append(chain, 1)
    with chain.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO k9ops.audit_event (actor, action, target_type, target_id)"
                " SELECT 'job', 'lock', 'daily_schedule', n::text FROM generate_series(1, 500) AS n"
            )
        )
    append(chain, 1)
    assert (verify_chain(chain).entries, verify_chain(chain).problem) == (502, None)


def test_writers_side_by_side_are_put_in_order_and_what_is_rolled_back_leaves_no_gap(chain: Engine) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    def write(writer: int) -> None:
        try:
            start.wait(timeout=30)
            for number in range(10):
                with chain.connect() as connection, connection.begin() as transaction:
                    append_event(connection, event(number))
                    if (number + writer) % 3 == 0:
                        transaction.rollback()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    report = verify_chain(chain)
    expected = sum((number + writer) % 3 != 0 for number in range(10) for writer in range(6))
    assert (report.entries, report.last_id, report.problem) == (expected, expected, None)


_EXCHANGE = """
    UPDATE k9ops.audit_event SET id = CASE id WHEN 3 THEN -5 ELSE -3 END WHERE id IN (3, 5);
    UPDATE k9ops.audit_event SET id = -id WHERE id < 0
"""
_REPEAT = """
    INSERT INTO k9ops.audit_event (id, at, actor, action, target_type, target_id, before, after, run_id, origin, reason,
        previous_hash, hash)
    SELECT 9, at, actor, action, target_type, target_id, before, after, run_id, origin, reason, previous_hash, hash
    FROM k9ops.audit_event WHERE id = 8
"""


@pytest.mark.parametrize(
    ("statement", "first", "kind"),
    [
        ("UPDATE k9ops.audit_event SET actor = 'sara' WHERE id = 4", 4, "changed"),
        ("UPDATE k9ops.audit_event SET at = at + interval '1 microsecond' WHERE id = 2", 2, "changed"),
        ("UPDATE k9ops.audit_event SET reason = NULL WHERE id = 7", 7, "changed"),
        ("""UPDATE k9ops.audit_event SET after = '{"paused": false}' WHERE id = 1""", 1, "changed"),
        ("DELETE FROM k9ops.audit_event WHERE id BETWEEN 3 AND 4", 3, "removed"),
        ("DELETE FROM k9ops.audit_event WHERE id = 1", 1, "removed"),
        ("DELETE FROM k9ops.audit_event WHERE id > 6", 7, "removed"),
        ("DELETE FROM k9ops.audit_event", 1, "removed"),
        (_EXCHANGE, 3, "moved"),
        (_REPEAT, 9, "moved"),
    ],
)
def test_verify_names_the_first_entry_that_is_not_as_it_was_written(
    chain: Engine, statement: str, first: int, kind: str
) -> None:
    append(chain, 8)
    tamper(chain, statement)
    problem = verify_chain(chain).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (first, kind)


def test_verify_names_what_was_cut_off_together_with_the_head(chain: Engine) -> None:
    append(chain, 8)
    report = verify_chain(chain)
    note = Anchor(report.chain_id, 8, report.hash, "backup X")
    assert verify_chain(chain, [note]).anchors == 1
    tamper(
        chain,
        "DELETE FROM k9ops.audit_event WHERE id > 5; UPDATE k9ops.audit_head SET last_id = 5,"
        " hash = (SELECT hash FROM k9ops.audit_event WHERE id = 5)",
    )
    assert verify_chain(chain).problem is None
    problem = verify_chain(chain, [note]).problem
    assert problem is not None
    assert (problem.entry_id, problem.kind) == (6, "removed")


def test_verify_wants_the_tables(any_engine: Engine) -> None:
    with pytest.raises(DatabaseInvalid, match="k9ops db upgrade"):
        verify_chain(any_engine)


def test_upgrade_links_the_entries_that_are_there(any_engine: Engine) -> None:
    config = migrate._config()
    with any_engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA k9ops"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for actor in ("a", "gone", "b", "c"):
            connection.execute(
                text(
                    "INSERT INTO k9ops.audit_event (actor, action, target_type, target_id, after, run_id)"
                    " VALUES (:actor, 'lock', 't', '1', '{\"n\": 1.0}', gen_random_uuid())"
                ),
                {"actor": actor},
            )
        connection.execute(text("DELETE FROM k9ops.audit_event WHERE actor = 'gone'"))
    upgrade(any_engine)
    append(any_engine, 1)
    assert (verify_chain(any_engine).entries, verify_chain(any_engine).problem) == (4, None)
    with any_engine.begin() as connection:
        assert [(item.id, item.actor) for item in list_events(connection)] == [(4, "عمر"), (3, "c"), (2, "b"), (1, "a")]


@pytest.fixture
def service(any_url: str, chain: Engine, connect: Connect) -> Iterator[Engine]:
    """The service's own role, on tables that another one owns."""
    name = f'Svc "{uuid.uuid4().hex[:8]}'
    quoted = '"' + name.replace('"', '""') + '"'
    with chain.begin() as connection:
        connection.execute(text(f"CREATE ROLE {quoted} LOGIN PASSWORD 'svc'"))
    grant_service(chain, name)
    engine = connect(make_url(any_url).set(username=name, password="svc").render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with chain.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}"))


def test_service_role_appends_and_verifies_but_can_change_nothing(chain: Engine, service: Engine) -> None:
    append(service, 2)
    assert (verify_chain(service).entries, verify_chain(service).problem) == (2, None)
    for statement in (
        "UPDATE k9ops.audit_event SET actor = 'x'",
        "DELETE FROM k9ops.audit_event",
        "TRUNCATE k9ops.audit_event",
        "UPDATE k9ops.audit_head SET last_id = 1",
        "DELETE FROM k9ops.audit_head",
        "ALTER TABLE k9ops.audit_event DISABLE TRIGGER USER",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), service.begin() as connection:
            connection.execute(text(statement))
    with service.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO k9ops.audit_event (id, actor, action, target_type, target_id, previous_hash, hash)"
                " VALUES (1, 'x', 'x', 'x', 'x', '', '')"
            )
        )
    assert (verify_chain(chain).entries, verify_chain(chain).problem) == (3, None), "numbers and hashes are no writer's"


def test_owner_can_give_up_the_right_to_change_entries(chain: Engine) -> None:
    with chain.begin() as connection:
        name = f"owner_{uuid.uuid4().hex[:8]}"
        connection.execute(text(f"CREATE ROLE {name}; GRANT USAGE ON SCHEMA k9ops TO {name}"))
        for table in ("audit_event", "audit_head"):
            connection.execute(text(f"ALTER TABLE k9ops.{table} OWNER TO {name}"))
        for function in ("audit_begin", "audit_link", "audit_end"):
            connection.execute(text(f"GRANT CREATE ON SCHEMA k9ops TO {name}"))
            connection.execute(text(f"ALTER FUNCTION k9ops.{function} OWNER TO {name}"))
    grant_service(chain, name)
    try:
        with chain.begin() as connection:
            connection.execute(text(f"SET LOCAL ROLE {name}"))
            append_event(connection, event(1))
        with chain.connect() as connection:
            connection.execute(text(f"SET LOCAL ROLE {name}"))
            with pytest.raises(DBAPIError, match="permission denied"):
                connection.execute(text("DELETE FROM k9ops.audit_event"))
        assert verify_chain(chain).entries == 1
    finally:
        with chain.begin() as connection:
            connection.execute(
                text(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")
            )


def test_grant_says_so_when_there_is_no_such_role(chain: Engine) -> None:
    with pytest.raises(DatabaseInvalid, match="no role 'nobody'"):
        grant_service(chain, "nobody")
