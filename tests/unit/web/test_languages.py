"""Every text of the dashboard is said in both languages."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from k9ops import actors
from k9ops.db.own_tables import RUN_STATES
from k9ops.web.accounts import ROLES
from k9ops.web.languages import Speech, load_translations

WEB = Path(__file__).parents[3] / "src/k9ops/web"
ZONE = ZoneInfo("Asia/Riyadh")


def used_texts() -> set[str]:
    texts: set[str] = {*RUN_STATES, *ROLES, "h", "min", "s", "ms", "verified", "unverified", "web", "cli", "schedule"}
    texts |= {"B", "kB", "MB", "GB", "TB", *actors.broker.get_declared_actors()}
    for path in (WEB / "templates").glob("*.html"):
        found = re.findall(r"""\b_\((?:"([^"]+)"|'([^']+)')""", path.read_text(encoding="utf-8"))
        texts |= {double or single for double, single in found}
    for path in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            wanted = node.args[1:2] if name == "Worry" else node.args[:1] if name == "say" else []
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
