"""The sessions of databases that are to be renamed: who they are, and ending them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from k9ops.backups.connections import DatabaseTarget, Session, open_session
from k9ops.config.logging import get_logger
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable

_EVERY_S = 0.05
_NAMED = 3

# https://www.postgresql.org/docs/current/functions-admin.html: a superuser's session only by a superuser.
_MAY_END = """
    (pg_has_role(role.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))
    AND (NOT role.rolsuper OR current_setting('is_superuser') = 'on')
"""
_OTHERS = f"""
    SELECT role.rolname, activity.application_name FROM pg_stat_activity activity
    JOIN pg_roles role ON role.oid = activity.usesysid
    WHERE activity.datname = ANY (%s) AND NOT ({_MAY_END}) ORDER BY 1, 2
"""
_END = f"""
    SELECT pg_terminate_backend(activity.pid) FROM pg_stat_activity activity
    JOIN pg_roles role ON role.oid = activity.usesysid
    WHERE activity.datid = ANY (%s::oid[]) AND activity.pid <> pg_backend_pid() AND {_MAY_END}
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = ANY (%s)"

log = get_logger("k9ops.backups")


def check_endable(session: Session, databases: Sequence[str]) -> None:
    """Make sure that nothing is in the way of a rename that cannot be ended.

    Raises:
        DatabaseInvalid: Sessions of roles that this one may not end, or prepared transactions; says which.
    """
    others = session.execute(_OTHERS, [list(databases)]).fetchall()
    if others:
        named = ", ".join(f"{role} ({application or 'no name'})" for role, application in others[:_NAMED])
        raise DatabaseInvalid(
            f"The database role may not end {len(others)} sessions: {named}. Close them, or use a superuser."
        )
    [(prepared,)] = session.execute(_PREPARED, [list(databases)]).fetchall()
    if prepared:
        raise DatabaseInvalid(f"{prepared} prepared transactions are open (pg_prepared_xacts); end them first.")


class SessionEnder:
    """Ends the sessions of databases, and again and again while the block runs, in a thread and session of its own.

    Once before the block begins: PostgreSQL looks every 100 ms whether they have gone.

    The databases are known by their oids, so that nobody is thrown out of the one that has got the name meanwhile.

    Args:
        session: Looks the databases up, and ends their sessions the first time.
        target: Where the thread connects to.
        databases: Their names, at this moment.
    """

    def __init__(self, session: Session, target: DatabaseTarget, databases: Sequence[str]) -> None:
        rows = session.execute("SELECT oid FROM pg_database WHERE datname = ANY (%s)", [list(databases)]).fetchall()
        self._oids = [oid for (oid,) in rows]
        self._session = session
        self._target = target
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session-ender", daemon=True)

    def __enter__(self) -> None:
        self._session.execute(_END, [self._oids])
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with open_session(self._target) as session:
                while True:
                    if self._done.wait(_EVERY_S):
                        return
                    session.execute(_END, [self._oids])
        except (DatabaseInvalid, DatabaseUnavailable) as exc:
            log.warning("sessions.not_ended", databases=self._oids, reason=exc.user_message)
