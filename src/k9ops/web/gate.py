"""What stands before every page: who asks, whether they may, and what no page may do."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy.exc import ProgrammingError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k9ops.config.logging import get_logger
from k9ops.errors import (
    AccessDenied,
    ArtefactNotFound,
    BackupNotFound,
    K9opsError,
    PageUnknown,
    QueueUnknown,
    ReportUnknown,
    RunNotFound,
    ScheduleUnknown,
    TransientError,
)
from k9ops.web.accounts import Role, find_account
from k9ops.web.sessions import WebSession, find_session, open_session
from k9ops.web.visit import SESSION_COOKIE, Desk, Visit

_LOG = get_logger("k9ops.web")

Handler = Callable[[Visit], Response]

_MAX_FORM_BYTES = 64_000
_NOT_FOUND = (PageUnknown, RunNotFound, BackupNotFound, ArtefactNotFound, ReportUnknown, ScheduleUnknown, QueueUnknown)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Adds to every answer what keeps a browser from doing more than it must."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                new = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(item for item in new if item[0] not in given)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def guard(desk: Desk, handler: Handler, *, role: Role | None) -> Callable[[Request], Any]:
    """Return an endpoint that answers only those who may.

    Args:
        desk: What the page works with.
        handler: The page, a plain function that runs in a thread.
        role: The least role; None is a page before the login, which checks its own form.
    """

    async def endpoint(request: Request) -> Response:
        form: dict[str, str] = {}
        if request.method == "POST":
            if not _is_same_site(request):
                return _refuse(desk, request, "This form was not sent from this site.", 403)
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_FORM_BYTES:
                    return _refuse(desk, request, "This form is too large.", 413)
            form = _read_form(body)
        return await run_in_threadpool(_answer, desk, handler, request, form, role)

    return endpoint


def _answer(desk: Desk, handler: Handler, request: Request, form: dict[str, str], role: Role | None) -> Response:
    address, is_secure, is_proxied = _read_client(desk, request)
    visit = Visit(desk, request, address, is_secure, None, "", form)
    new_cookie: str | None = None
    try:
        session, new_cookie = _find_session(desk, request, visit, is_proxied=is_proxied)
        if session is not None:
            visit.account, visit.csrf = session.account, session.csrf
        if role is not None:
            if session is None:
                return visit.go("/login")
            _check_rights(visit, session, role)
        response = handler(visit)
    except K9opsError as exc:
        response = _explain(visit, exc)
    except ProgrammingError as exc:
        _LOG.error("web.failed", path=request.url.path, problem=type(exc).__name__)
        response = _refuse(desk, request, "The tables of k9ops are missing: run `k9ops db upgrade`.", 503)
    except Exception:
        _LOG.exception("web.failed", path=request.url.path)
        response = _refuse(desk, request, "A fault in k9ops: its log says more.", 500)
    if new_cookie is not None:
        set_session_cookie(visit, response, new_cookie)
    return response


def set_session_cookie(visit: Visit, response: Response, cookie: str) -> None:
    """Give a browser its session, signed."""
    limit_s = visit.desk.settings.web_session_hours * 3600
    response.set_cookie(
        SESSION_COOKIE, cookie, max_age=limit_s, httponly=True, samesite="lax", secure=visit.is_secure, path="/"
    )


def _find_session(
    desk: Desk, request: Request, visit: Visit, *, is_proxied: bool
) -> tuple[WebSession | None, str | None]:
    visit.token = desk.read_session_cookie(request)
    session = find_session(desk.engine, visit.token) if visit.token else None
    header = desk.settings.web_user_header
    if not header:
        return session, None
    # Who enters is the proxy's word alone: a session of somebody else, or without the proxy, does not count.
    name = request.headers.get(header, "").replace("\x00", "") if is_proxied else ""
    account = find_account(desk.engine, name) if name else None
    if account is None:
        return None, None
    if session is not None and session.account.name == account.name:
        return session, None
    token = open_session(desk.engine, account.name, hours=desk.settings.web_session_hours)
    visit.token = token
    return find_session(desk.engine, token), desk.signer.sign(token)


def _check_rights(visit: Visit, session: WebSession, role: Role) -> None:
    if visit.request.method == "POST" and not hmac.compare_digest(
        visit.form.get("csrf", "").encode("utf-8", "replace"), session.csrf.encode()
    ):
        raise AccessDenied(visit.speech.say("This form is out of date: go back, reload the page and try again."))
    if not session.account.may(role):
        raise AccessDenied(visit.speech.say("Your role does not allow this."))


def show_nothing(visit: Visit) -> Response:
    """Say that an address is none of the dashboard's."""
    raise PageUnknown(visit.speech.say("There is no such page."))


def _refuse(desk: Desk, request: Request, words: str, status: int) -> Response:
    """Answer without a page, which might not be possible."""
    speech = Visit(desk, request, "", False, None, "").speech
    return PlainTextResponse(speech.say(words), status_code=status)


def _explain(visit: Visit, error: K9opsError) -> Response:
    if isinstance(error, AccessDenied):
        status = 403
    elif isinstance(error, _NOT_FOUND):
        status = 404
    else:
        status = 503 if isinstance(error, TransientError) else 400
    name = type(error).__name__
    return visit.render("problem.html", status=status, message=error.user_message, error_class=name)


def _read_client(desk: Desk, request: Request) -> tuple[str, bool, bool]:
    """Return the browser's address, whether it came by TLS, and whether a trusted proxy says so."""
    peer = request.client.host if request.client else ""
    if peer not in desk.settings.trusted_proxies:
        return peer, request.url.scheme == "https", False
    forwarded = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    # The nearest proxy writes last; further ones that are trusted too stand before it.
    address = next((part for part in reversed(forwarded) if part not in desk.settings.trusted_proxies), peer)
    return address[:45], request.headers.get("x-forwarded-proto", "") == "https", True


def _is_same_site(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")


def _read_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return {}
    return {name: value.replace("\x00", "") for name, value in pairs}
