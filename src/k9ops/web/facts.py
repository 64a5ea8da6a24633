"""Names and values of parameters and evidence as people read them, instead of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from k9ops.web.languages import Speech

_NAMES = {
    "sha256": "SHA-256",
    "size_bytes": "Size",
    "duration_s": "Took",
    "backup_id": "Backup",
    "created_at": "Created",
}


@dataclass(frozen=True)
class Fact:
    """A name with its value, or with further facts.

    Attributes:
        name: In the reader's language.
        text: The value; empty when there are parts.
        parts: What an object or a list of objects holds.
    """

    name: str
    text: str
    parts: tuple[Fact, ...] = ()


def describe_facts(values: Mapping[str, Any], speech: Speech) -> tuple[Fact, ...]:
    """Return JSON values as facts, in their order.

    Units are told by the ends of names: `_bytes`, `_s` and `_at`.
    """
    return tuple(_describe(name, value, speech) for name, value in values.items())


def read_moment(value: object) -> datetime | None:
    """Return the moment of an ISO 8601 text that says its offset; None when it is none."""
    if not isinstance(value, str) or len(value) < len("2026-01-01T00:00Z"):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _describe(name: str, value: Any, speech: Speech) -> Fact:
    label = _label(name, speech)
    if isinstance(value, Mapping) and value:
        return Fact(label, "", describe_facts(value, speech))
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        numbered = {str(number): item for number, item in enumerate(value, 1)}
        return Fact(label, "", describe_facts(numbered, speech))
    return Fact(label, _value(name, value, speech))


def _label(name: str, speech: Speech) -> str:
    for unit in ("_bytes", "_s"):
        if name not in _NAMES and name.endswith(unit):
            name = name.removesuffix(unit)
    words = _NAMES.get(name) or name.replace("_", " ")
    return speech.say(words[:1].upper() + words[1:])


def _value(name: str, value: Any, speech: Speech) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return speech.say("yes") if value else speech.say("no")
    if isinstance(value, int | float):
        if name.endswith("_bytes"):
            return speech.size(value)
        return speech.duration(value) if name.endswith("_s") else speech.number(value)
    if isinstance(value, list):
        comma = "، " if speech.language == "ar" else ", "
        return comma.join(_value(name, item, speech) for item in value)
    moment = read_moment(value)
    return speech.moment(moment) if moment else speech.write(str(value))
