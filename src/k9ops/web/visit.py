"""One request: who asks, in which language, and the page that answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import quote, urlencode

import dramatiq
import jinja2
from markupsafe import Markup, escape
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid
from k9ops.version import __version__
from k9ops.web.accounts import Account
from k9ops.web.cookies import CookieSigner
from k9ops.web.languages import LANGUAGES, Speech

SESSION_COOKIE = "k9ops_session"
LOGIN_COOKIE = "k9ops_login"

_LONGEST_REASON = 500
_LONGEST_WHOLE = 30
_VALUE = re.compile("\u2068([^\u2068\u2069]*)\u2069?")
_ARABIC = re.compile("[\u0590-\u08ff]")


@dataclass(frozen=True)
class Desk:
    """What every page works with."""

    settings: Settings
    engine: Engine
    broker: dramatiq.Broker

    @cached_property
    def signer(self) -> CookieSigner:
        """What signs the cookies of sessions."""
        return CookieSigner(self.engine, self.settings.secret_keys)

    def read_session_cookie(self, request: Request) -> str | None:
        """Return the token that a browser sent; None when it sent none, or one that was not signed here."""
        return self.signer.read(request.cookies.get(SESSION_COOKIE, ""))


@dataclass
class Visit:
    """A request while it is answered.

    Attributes:
        desk: Settings, database, broker.
        request: As it came.
        address: Of the browser; that which a trusted proxy names.
        is_secure: Whether the browser came by TLS.
        account: Who asks; None on the pages before the login.
        csrf: What every form must send back.
        form: What a form sent.
        token: Of the session's cookie, whose signature was right.
    """

    desk: Desk
    request: Request
    address: str
    is_secure: bool
    account: Account | None
    csrf: str
    form: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None

    @property
    def origin(self) -> str:
        """What the audit says about where a change comes from."""
        return f"web from {self.address}"

    @property
    def person(self) -> str:
        """Who asks, for the ledger and the audit."""
        return self.account.name if self.account else "unknown"

    @property
    def page(self) -> str:
        """Where this page is, to come back to; the first page when it is the answer to a form."""
        if self.request.method != "GET":
            return "/"
        query = [(name, value) for name, value in self.request.query_params.multi_items() if name != "done"]
        return f"{self.request.url.path}?{urlencode(query)}" if query else self.request.url.path

    @property
    def speech(self) -> Speech:
        """How to speak to who asks: the account's language, before the login the browser's."""
        if self.account is not None:
            language = self.account.language
        else:
            wanted = self.request.headers.get("accept-language", "").lower()
            language = "en" if wanted.startswith("en") else "ar"
        return Speech(language, self.desk.settings.zone)

    def reason(self) -> str:
        """Return why a person wants a change.

        Raises:
            ParamsInvalid: They did not say.
        """
        reason = self.form.get("reason", "").strip()
        if not reason:
            raise ParamsInvalid(self.speech.say("Say why: the reason stands in the audit."))
        return reason[:_LONGEST_REASON]

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page."""
        speech = self.speech
        known = {
            "visit": self,
            "speech": speech,
            "_": speech.say,
            "account": self.account,
            "csrf": self.csrf,
            "languages": LANGUAGES,
            "now": datetime.now(UTC),
            "version": __version__,
            "notice": self.request.query_params.get("done"),
        }
        text = _templates().get_template(template).render(known | values)
        return HTMLResponse(text, status_code=status)

    def go(self, path: str, *, done: str | None = None) -> Response:
        """Send the browser to a page of this site, which says what was done."""
        if done:
            path += f"{'&' if '?' in path else '?'}done={quote(done)}"
        return RedirectResponse(path, status_code=303)


def render_fragment(template: str, speech: Speech, **values: Any) -> str:
    """Return a part of a page that is the same for everybody who reads a language."""
    return _templates().get_template(template).render(values, speech=speech, _=speech.say)


def isolate_values(text: str) -> Markup:
    """Return a text whose isolated values are elements, so that a code is not broken, nor read from the wrong side.

    Args:
        text: As `Told` has it; cut off anywhere.
    """
    return Markup(_VALUE.sub(_to_element, str(escape(text))))  # noqa: S704 - escaped before


def _to_element(found: re.Match[str]) -> str:
    value = found[1]
    direction = "" if _ARABIC.search(value) else ' dir="ltr"'
    kept_whole = ' class="whole"' if " " not in value and len(value) <= _LONGEST_WHOLE else ""
    return f"<bdi{kept_whole}{direction}>{value}</bdi>"


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("k9ops.web"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["isolated"] = isolate_values
    return environment
