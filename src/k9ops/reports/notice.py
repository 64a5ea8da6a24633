"""Telling the person who asked that the report is there: a row in the application's `notification` table, once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from sqlalchemy import Engine, Text, cast, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from k9ops.config.logging import get_logger
from k9ops.db.application import APPLICATION_SCHEMA, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import database_errors
from k9ops.errors import DatabaseUnavailable
from k9ops.reports.artefacts import Artefact

_LOG = get_logger("k9ops.reports")
_NAMESPACE = uuid.UUID("6b396f70-7300-5000-8000-7265706f7274")
_COLUMNS = ("id", "user_id", "type", "title", "message", "related_id", "related_type", "read", "created_at")

#: The application has no type of notification for a finished report; this is the one that reads best in its list.
NOTICE_TYPE = "REPORT_SUBMITTED"
RELATED_TYPE = "k9ops_report"


def tell_requester(engine: Engine, artefact: Artefact, requested_by: str | None, *, run_id: uuid.UUID) -> bool:
    """Write a notification for the requester if that is a user of the application, and tell whether there is one.

    The notification's id comes from the run's: another attempt of the run writes no second one. A database that refuses
    it is logged and changes no outcome: the report is there.

    Args:
        engine: The application's database.
        artefact: The report.
        requested_by: Name or id of a user, or anything else.
        run_id: The run.
    """
    if not requested_by:
        return False
    try:
        with database_errors(), engine.begin() as connection:
            schema = inspect_application(connection)
            if schema.generation is None or not all(schema.has("notification", column) for column in _COLUMNS):
                return False
            tables = build_metadata(schema.generation).tables
            user, notification = (tables[f"{APPLICATION_SCHEMA}.{name}"] for name in ("user", "notification"))
            is_meant = or_(user.c.username == requested_by, cast(user.c.id, Text) == requested_by)
            user_id = connection.scalar(select(user.c.id).where(is_meant).order_by(user.c.username).limit(1))
            if user_id is None:
                return False
            connection.execute(
                insert(notification)
                .values(
                    id=uuid.uuid5(_NAMESPACE, str(run_id)),
                    user_id=user_id,
                    type=NOTICE_TYPE,
                    title=f"التقرير جاهز: {artefact.title}"[:200],
                    message=f"{artefact.title} ({artefact.format.upper()})، عدد السجلات: {artefact.row_count}.",
                    related_id=artefact.artefact_id,
                    related_type=RELATED_TYPE,
                    read=False,
                    created_at=datetime.now(UTC).replace(tzinfo=None),
                )
                .on_conflict_do_nothing(index_elements=["id"])
            )
            return True
    except (DatabaseUnavailable, DBAPIError) as exc:
        _LOG.warning("requester.untold", artefact_id=artefact.artefact_id, problem=str(exc))
        return False
