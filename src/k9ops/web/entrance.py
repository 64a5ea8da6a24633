"""The pages before the login, and what a person says about themselves: their language."""

from __future__ import annotations

import hmac
import re
import secrets

from starlette.responses import Response

from k9ops.config.logging import get_logger
from k9ops.errors import AccessDenied, AccountInvalid
from k9ops.web.accounts import authenticate, is_throttled, set_language
from k9ops.web.gate import set_session_cookie
from k9ops.web.languages import LANGUAGES
from k9ops.web.sessions import close_session, open_session
from k9ops.web.visit import LOGIN_COOKIE, SESSION_COOKIE, Visit

_LOG = get_logger("k9ops.web")

# Browsers take two slashes, of either kind, for the beginning of another site's name.
_PAGE_HERE = re.compile(r"/(?:[\w~.!$&'()*+,;=:@%?-][\w~.!$&'()*+,;=:@%?/-]*)?", re.ASCII)


def show_login(visit: Visit, *, problem: str | None = None, status: int = 200) -> Response:
    """Show the form to log in."""
    if visit.account is not None:
        return visit.go("/")
    visit.csrf = visit.request.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(16)
    response = visit.render("login.html", status=status, problem=problem)
    response.set_cookie(
        LOGIN_COOKIE, visit.csrf, max_age=3600, httponly=True, samesite="strict", secure=visit.is_secure, path="/login"
    )
    return response


def log_in(visit: Visit) -> Response:
    """Let a person in whose password is right; the session is a new one, whatever cookie came."""
    if visit.desk.settings.web_user_header:
        raise AccessDenied(visit.speech.say("People enter through the reverse proxy here."))
    sent, expected = visit.form.get("csrf", ""), visit.request.cookies.get(LOGIN_COOKIE, "")
    if not expected or not hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode("utf-8", "replace")):
        return show_login(visit, problem=visit.speech.say("The form was out of date. Try again."), status=403)
    engine, name = visit.desk.engine, visit.form.get("name", "").strip()
    if is_throttled(engine, name, visit.address):
        _LOG.warning("login.throttled", address=visit.address)
        words = visit.speech.say("Too many attempts failed. Wait a quarter of an hour.")
        return show_login(visit, problem=words, status=429)
    account = authenticate(engine, name, visit.form.get("password", ""), address=visit.address)
    if account is None:
        _LOG.warning("login.refused", address=visit.address)
        return show_login(visit, problem=visit.speech.say("Name or password is wrong."), status=401)
    if visit.token:
        close_session(engine, visit.token)
    token = open_session(engine, account.name, hours=visit.desk.settings.web_session_hours)
    _LOG.info("login.accepted", account=account.name, address=visit.address)
    response = visit.go("/")
    set_session_cookie(visit, response, visit.desk.signer.sign(token))
    response.delete_cookie(LOGIN_COOKIE, path="/login")
    return response


def log_out(visit: Visit) -> Response:
    """End the session."""
    if visit.token:
        close_session(visit.desk.engine, visit.token)
    response = visit.go("/login")
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


def choose_language(visit: Visit) -> Response:
    """Remember the language, and show the same page in it."""
    language = visit.form.get("language", "")
    if language not in LANGUAGES:
        raise AccountInvalid(visit.speech.say("There is no such language."))
    set_language(visit.desk.engine, visit.person, language)
    page = visit.form.get("page", "")
    return visit.go(page if _PAGE_HERE.fullmatch(page) else "/")
