"""Every text of the dashboard is said in both languages."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from k9ops import actors
from k9ops.alerts.rules import RULES
from k9ops.db.own_tables import RUN_STATES
from k9ops.web.accounts import ROLES
from k9ops.web.faults import KINDS, name_kind
from k9ops.web.languages import Speech, load_translations

WEB = Path(__file__).parents[3] / "src/k9ops/web"
ZONE = ZoneInfo("Asia/Riyadh")


def used_texts() -> set[str]:
    texts: set[str] = {*RUN_STATES, *ROLES, "h", "min", "s", "ms", "verified", "unverified", "web", "cli", "schedule"}
    texts |= {*KINDS.values(), name_kind("", "")}
    texts |= {"B", "kB", "MB", "GB", "TB", *actors.broker.get_declared_actors(), *(rule.title for rule in RULES)}
    for path in (WEB / "templates").glob("*.html"):
        found = re.findall(r"""\b_\((?:"([^"]+)"|'([^']+)')""", path.read_text(encoding="utf-8"))
        texts |= {double or single for double, single in found}
    for path in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = {"Worry": 1, "say": 0, "_refuse": 2}.get(name)
            wanted = [] if place is None else node.args[place : place + 1]
            texts |= {arg.value for arg in wanted if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return texts


def test_every_text_has_its_arabic() -> None:
    arabic = load_translations("ar")
    missing = sorted(text for text in used_texts() if arabic.gettext(text) == text and text != "Google Drive")
    assert missing == []
    assert len(used_texts()) > 100


def test_arabic_keeps_the_places_of_values() -> None:
    arabic = load_translations("ar")
    for text in used_texts():
        assert set(re.findall(r"%\(\w+\)s", text)) == set(re.findall(r"%\(\w+\)s", arabic.gettext(text)))


def test_moments_and_numbers_are_written_as_the_language_does() -> None:
    moment = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
    assert Speech("en", ZONE).moment(moment) == "25 Nov 2026, 01:00:00"
    assert "نوفمبر" in Speech("ar", ZONE).moment(moment)
    assert Speech("en", ZONE).number(5_000_000) == "5,000,000"
    assert Speech("ar", ZONE).number(12) == "12"
    assert Speech("en", ZONE).since(moment - timedelta(hours=3), moment) == "3 hours ago"
    assert Speech("en", ZONE).duration(3725) == "1 h 2 min"
    assert Speech("en", ZONE).duration(0) == "0 ms"


def test_templates_say_nothing_outside_of_the_catalogue() -> None:
    names = {"k9ops", "SHA", "PostgreSQL"}
    for path in sorted((WEB / "templates").glob("*.html")):
        text = re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"\{\{.*?\}\}", "0", text, flags=re.DOTALL)
        shown = re.findall(r'(?:aria-label|title|placeholder|alt|data-label)="([^"]*)"', text)
        shown.append(re.sub(r"<[^>]*>", " ", re.sub(r"&\w+;", " ", text)))
        words = {word for part in shown for word in re.findall(r"[A-Za-z]\w+", part)}
        assert words <= names, path.name


def test_answers_without_a_template_speak_the_language_too() -> None:
    for path in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            is_for_machines = path.name == "health.py" or path.parent.name == "static"
            if name in ("PlainTextResponse", "HTMLResponse", "AccessDenied") and not is_for_machines:
                assert isinstance(node, ast.Call)
                assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), ast.unparse(node)
