from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from k9ops.broker import maintenance
from k9ops.config.settings import Settings
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.ledger.claims import claim_run, renew_leases
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run

LEASE_S = 3


@contextmanager
def connected(server: PostgresServer) -> Iterator[Engine]:
    url = make_url(server.url).set(drivername="postgresql+psycopg")
    engine = create_engine_for(url, Settings(), application_name="test")
    try:
        yield engine
    finally:
        engine.dispose()


def test_lease_that_ran_out_while_postgresql_was_restarted_may_be_renewed(server_folder: Path) -> None:
    settings = Settings(lease_s=LEASE_S)
    server = PostgresServer(server_folder / "restarted", bin_dir=wheel_bin_dir(), options={"fsync": "off"})
    new = NewRun(job="create_backup", queue="backups")
    with server:
        with connected(server) as engine:
            upgrade(engine)
            record_run(engine, new, is_sent=True)
            claim = claim_run(engine, new.id, owner="alive", lease_s=0.2, path="worker")
        assert claim is not None
        server.stop()
        time.sleep(0.3)  # the lease runs out while nobody can renew it
        server.start()
        with connected(server) as engine:
            assert maintenance.rescue(settings, engine).state == "skipped"
            assert renew_leases(engine, [(claim, None)], lease_s=0.2) == {claim.owner: False}
            time.sleep(LEASE_S)  # and now its holder is really gone
            assert maintenance.rescue(settings, engine).state == "succeeded"
            assert get_run(engine, new.id).state == "retrying"
