"""Databases as a whole: their shape, making them and dropping them."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from k9ops.backups.connections import Session
from k9ops.backups.manifest import DatabaseShape

NAME_BYTES = 63

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def server_version(session: Session) -> str:
    """Return e.g. `15.18`, without what a distribution adds."""
    row: Any = session.execute("SELECT current_setting('server_version')").fetchone()
    return str(row[0]).split()[0]


def database_exists(session: Session, name: str) -> bool:
    """Tell whether the server has a database of this name."""
    return session.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def cut_name(database: str, suffix: str) -> str:
    """Return a database's name with a suffix, cut so that PostgreSQL takes it whole."""
    return database.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def read_shape(session: Session) -> DatabaseShape:
    """Return the shape of the session's database.

    The row is read as JSON, as its columns differ: providers since PostgreSQL 15, `daticulocale` was
    renamed `datlocale` in 17.
    """
    row: Any = session.execute(
        "SELECT to_jsonb(d), pg_encoding_to_char(d.encoding) FROM pg_database d WHERE datname = current_database()"
    ).fetchone()
    columns, encoding = row
    return DatabaseShape(
        encoding=encoding,
        collate=columns["datcollate"],
        ctype=columns["datctype"],
        locale_provider=_PROVIDERS[columns.get("datlocprovider", "c")],  # type: ignore[arg-type]
        locale=columns.get("datlocale") or columns.get("daticulocale"),
        icu_rules=columns.get("daticurules"),
    )


def create_database(session: Session, name: str, shape: DatabaseShape) -> None:
    """Make an empty database of the given shape."""
    parts: list[Composed] = [
        SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
            Identifier(name), Literal(shape.encoding), Literal(shape.collate), Literal(shape.ctype)
        )
    ]
    if session.info.server_version >= 150000:
        parts.append(SQL(" LOCALE_PROVIDER {}").format(Identifier(shape.locale_provider)))
    if shape.locale_provider == "icu":
        parts.append(SQL(" ICU_LOCALE {}").format(Literal(shape.locale)))
    if shape.locale_provider == "builtin":
        parts.append(SQL(" BUILTIN_LOCALE {}").format(Literal(shape.locale)))
    if shape.icu_rules:
        parts.append(SQL(" ICU_RULES {}").format(Literal(shape.icu_rules)))
    session.execute(Composed(parts))


def drop_database(session: Session, name: str) -> None:
    """Drop a database, ending whoever is connected to it; nothing happens when it is not there."""
    session.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def copy_properties(session: Session, source: str, target: str) -> tuple[str, ...]:
    """Give a database what belongs to another one but is in no archive of it.

    That is its owner, connection limit, privileges and settings (`ALTER DATABASE … SET`).

    Returns:
        Names of settings that could not be copied.
    """
    row: Any = session.execute(
        "SELECT pg_get_userbyid(datdba), datconnlimit, datacl IS NOT NULL FROM pg_database WHERE datname = %s", [source]
    ).fetchone()
    owner, limit, has_privileges = row
    name = Identifier(target)
    session.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(name, Identifier(owner)))
    session.execute(SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, Literal(limit)))
    if has_privileges:
        _copy_privileges(session, source, target)
    return _copy_settings(session, source, target)


def _copy_privileges(session: Session, source: str, target: str) -> None:
    grants = session.execute(
        "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type, is_grantable"
        " FROM pg_database, aclexplode(datacl) WHERE datname = %s",
        [source],
    ).fetchall()
    session.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(target)))
    for grantee, privilege, is_grantable in grants:
        session.execute(
            SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                SQL(privilege),
                Identifier(target),
                Identifier(grantee) if grantee else SQL("PUBLIC"),
                SQL(" WITH GRANT OPTION" if is_grantable else ""),
            )
        )


def _copy_settings(session: Session, source: str, target: str) -> tuple[str, ...]:
    """FROM CURRENT takes a value as it is stored, lists such as search_path included."""
    settings = session.execute(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, item FROM pg_db_role_setting"
        " JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) AS item WHERE datname = %s",
        [source],
    ).fetchall()
    refused = []
    for role, item in settings:
        name, _, value = item.partition("=")
        whose = SQL("ROLE {} IN DATABASE {}" if role else "{}DATABASE {}").format(
            Identifier(role) if role else SQL(""), Identifier(target)
        )
        try:
            with session.transaction():
                session.execute("SELECT set_config(%s, %s, true)", [name, value])
                session.execute(SQL("ALTER {} SET {} FROM CURRENT").format(whose, _setting_name(name)))
        except (psycopg.ProgrammingError, psycopg.DataError):
            refused.append(name)
    return tuple(refused)


def _setting_name(name: str) -> Composed:
    return SQL(".").join(Identifier(part) for part in name.split("."))
