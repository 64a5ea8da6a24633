"""Parameters whose values only the job itself sees: hidden wherever a run is shown, logged or audited."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

HIDDEN = "•••"


def hide_params(params: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return parameters without the values of the private ones.

    Args:
        params: JSON values by name.
        names: The private ones; `params.employee` is the value `employee` in the object `params`. One that is not
            there, or has no value, stays so.
    """
    hidden = dict(params)
    for name in names:
        head, dot, rest = name.partition(".")
        value = hidden.get(head)
        if dot and isinstance(value, Mapping):
            hidden[head] = hide_params(value, (rest,))
        elif value is not None:
            hidden[head] = HIDDEN
    return hidden


def pick_private(params: Mapping[str, Any], names: Collection[str]) -> list[Any]:
    """Return the private values that are there."""
    found = []
    for name in names:
        head, dot, rest = name.partition(".")
        value = params.get(head)
        if dot and isinstance(value, Mapping):
            found += pick_private(value, (rest,))
        elif value is not None:
            found.append(value)
    return found
