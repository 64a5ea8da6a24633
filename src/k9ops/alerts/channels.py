"""The channels: where a message goes, and how each wants it. A URL may hold a secret, so no error names one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from functools import partial
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from k9ops.config.settings import Settings
from k9ops.config.smtp import split_addresses
from k9ops.db.application import APPLICATION_SCHEMA, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import database_errors
from k9ops.errors import AlertUndelivered, K9opsError
from k9ops.mail import send

_TIMEOUT_S = (5.0, 10.0)
_NAMESPACE = uuid.UUID("6b396f70-7300-5000-8000-616c65727473")
#: The application has no type of notification for an alert; this is the one that asks for something to be done.
_NOTICE_TYPE = "TASK_ASSIGNED"
_RELATED_TYPE = "k9ops_alert"

Send = Callable[[Mapping[str, Any], str], None]


def build_channels(settings: Settings, engine: Engine) -> dict[str, Send]:
    """Return the channels that the settings name, by name.

    Each takes the content of a message and a key that is the same at every try of it, and raises `AlertUndelivered`
    when it did not arrive.
    """
    channels: dict[str, Send] = {}
    if settings.alert_webhook_url.get_secret_value():
        channels["webhook"] = lambda content, key: _post(settings.alert_webhook_url, {**content, "key": key})
    if settings.alert_slack_url.get_secret_value():
        channels["slack"] = lambda content, key: _post(settings.alert_slack_url, {"text": _as_text(content)})
    if settings.alert_telegram_token.get_secret_value():
        channels["telegram"] = lambda content, key: _send_telegram(settings, content)
    for number, address in enumerate(split_addresses(settings.alert_mail_to), start=1):
        channels[f"mail-{number}"] = partial(_send_mail, settings, address)
    if settings.alert_notify_admins:
        channels["notification"] = lambda content, key: _notify_admins(engine, content, key)
    return channels


def send_ping(settings: Settings, content: Mapping[str, Any]) -> None:
    """Tell an outside dead man's switch of a run, in the form of healthchecks.io.

    Raises:
        AlertUndelivered: It did not arrive.
    """
    base = settings.ping_url_of(str(content["job"]))
    if base is None:
        return
    path = {"start": "/start", "success": "", "fail": "/fail"}[str(content["signal"])]
    url = SecretStr(f"{base.rstrip('/')}{path}?rid={content['run_id']}" if content.get("run_id") else f"{base}{path}")
    _call(url, data=str(content.get("body", "")).encode())


def _post(url: SecretStr, document: Mapping[str, Any]) -> None:
    _call(url, json=dict(document))


def _call(url: SecretStr, **body: Any) -> None:
    import requests  # 30 ms that every command and worker would take

    try:
        answer = requests.post(url.get_secret_value(), timeout=_TIMEOUT_S, allow_redirects=False, **body)
    except requests.RequestException as exc:
        # The words of the exception hold the URL.
        raise AlertUndelivered(f"No answer: {type(exc).__name__}.") from None
    if not 200 <= answer.status_code < 300:
        raise AlertUndelivered(f"The answer was {answer.status_code}.")


def _send_telegram(settings: Settings, content: Mapping[str, Any]) -> None:
    token = settings.alert_telegram_token.get_secret_value()
    url = SecretStr(f"{settings.alert_telegram_api_url.rstrip('/')}/bot{token}/sendMessage")
    _post(url, {"chat_id": settings.alert_telegram_chat, "text": _as_text(content)})


def _send_mail(settings: Settings, address: str, content: Mapping[str, Any], key: str) -> None:
    """Send an e-mail. One whose fate is unknown is sent again, with the same Message-ID: better twice than never."""
    message = EmailMessage()
    message["Subject"] = f"{content['title_ar']} | {content['title']}"
    message["Date"] = formatdate()
    moment = f"{datetime.fromisoformat(str(content['at'])):%Y%m%dT%H%M%S%f}"  # numbers start anew in another database
    message["Message-ID"] = f"<{key}.{moment}@{parseaddr(settings.smtp_from)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    message.set_content(f"{content['unit_ar']}\n{content['title_ar']}\n\n{_as_text(content)}\n")
    try:
        send(settings, message, to=address, before_content=lambda: None)
    except K9opsError as exc:
        raise AlertUndelivered(exc.user_message) from None


def _as_text(content: Mapping[str, Any]) -> str:
    return f"{content['title']} ({content['unit']})\n{content['text']}"


def _notify_admins(engine: Engine, content: Mapping[str, Any], key: str) -> None:
    """Write a notification for every active general admin; the key makes a second try write none twice."""
    try:
        _write_notifications(engine, content, key)
    except DBAPIError as exc:
        raise AlertUndelivered(f"PostgreSQL refused: {type(exc.orig).__name__}.") from exc


def _write_notifications(engine: Engine, content: Mapping[str, Any], key: str) -> None:
    with database_errors(), engine.begin() as connection:
        schema = inspect_application(connection)
        if schema.generation is None:
            raise AlertUndelivered("The application has no table of notifications.")
        tables = build_metadata(schema.generation).tables
        user, notification = (tables[f"{APPLICATION_SCHEMA}.{name}"] for name in ("user", "notification"))
        admins = connection.scalars(
            select(user.c.id).where(user.c.role == "GENERAL_ADMIN", user.c.active.isnot(False)).order_by(user.c.id)
        ).all()
        if not admins:
            raise AlertUndelivered("The application has no active general admin.")
        at = datetime.fromisoformat(str(content["at"])).replace(tzinfo=None)
        rows = [
            {
                "id": uuid.uuid5(_NAMESPACE, f"{key}:{admin}"),
                "user_id": admin,
                "type": _NOTICE_TYPE,
                "title": str(content["title_ar"])[:200],
                "message": str(content["text"]),
                "related_id": key[:36],
                "related_type": _RELATED_TYPE,
                "read": False,
                "created_at": at,
            }
            for admin in admins
        ]
        connection.execute(insert(notification).on_conflict_do_nothing(index_elements=["id"]), rows)
