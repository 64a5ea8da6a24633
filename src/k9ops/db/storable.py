"""Text as PostgreSQL can store it."""

from __future__ import annotations

import re
from typing import Any

# A NUL as JSON writes it; an even number of backslashes before it belongs to the text.
_JSON_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def make_storable(value: Any) -> Any:
    """Replace what PostgreSQL has no text for, NUL and lone surrogates: an error's words may hold anything."""
    if not isinstance(value, str):
        return value
    text_value = _JSON_NUL.sub("\\1\ufffd", value.replace("\x00", "\ufffd"))
    return text_value.encode("utf-8", "replace").decode("utf-8")
