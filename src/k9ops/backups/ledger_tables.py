"""The tables of k9ops in a database that is about to be the live one."""

from __future__ import annotations

from k9ops.backups.connections import DatabaseTarget, Session, open_session
from k9ops.config.settings import Settings
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.errors import DatabaseInvalid

_CANCEL_RUNS = """
    UPDATE k9ops.run SET state = 'cancelled', lease_owner = NULL, lease_expires_at = NULL, finished_at = now(),
    message = 'Open at the time of the backup that was restored.'
    WHERE state IN ('queued', 'running', 'retrying')
"""


def cancel_open_runs(target: DatabaseTarget) -> int:
    """Cancel the runs that were open in a backup: nobody knows what became of them since. Return how many."""
    with open_session(target) as session:
        return session.execute(_CANCEL_RUNS).rowcount if _has_runs(session) else 0


def _has_runs(session: Session) -> bool:
    found = session.execute("SELECT to_regclass('k9ops.run') IS NOT NULL").fetchone()
    return bool(found and found[0])


def upgrade_tables(settings: Settings, target: DatabaseTarget) -> tuple[str, ...]:
    """Bring k9ops' tables to this version's revision before anybody needs them; say why not, where that fails."""
    with open_session(target) as session:
        if not _has_runs(session):
            return ()
    url = settings.sqlalchemy_url.set(database=target.database)
    engine = create_engine_for(url, settings, application_name="k9ops backups")
    try:
        upgrade(engine)
    except DatabaseInvalid as exc:
        return (exc.user_message,)
    finally:
        engine.dispose()
    return ()
