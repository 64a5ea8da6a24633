"""The parameters of a job, as they are typed on a command line."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Sequence
from typing import Any

import dramatiq
from pydantic import TypeAdapter, ValidationError

from k9ops.errors import ParamsInvalid


def parse_params(actor: dramatiq.Actor[..., Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Turn `name=value` texts into a job's keyword arguments, of the types that it declares.

    A text parameter takes its value as it is; any other is read as JSON, or as text where it is none.

    Args:
        actor: The job.
        pairs: E.g. `["backup_id=20261124T020000Z-1b2c3d4e", "only_if_enabled=false"]`.

    Raises:
        ParamsInvalid: Names the parameter, its value and what it must be.
    """
    hints = typing.get_type_hints(actor.fn)
    known = inspect.signature(actor.fn).parameters
    params: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ParamsInvalid(f"--param {pair!r}: it must look like name=value.")
        if name in params:
            raise ParamsInvalid(f"--param {name}: it is given twice.")
        if name not in known:
            names = ", ".join(known) or "none"
            raise ParamsInvalid(f"{actor.actor_name} has no parameter {name!r}; its parameters are: {names}.")
        params[name] = _coerce(name, value, hints.get(name, Any))
    return params


def _coerce(name: str, value: str, hint: Any) -> Any:
    alternatives = typing.get_args(hint) or (hint,)
    if value == "null" and type(None) in alternatives:
        return None
    if str in alternatives:
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    try:
        return TypeAdapter(hint).validate_python(parsed)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]["msg"].replace("Input should be", "it must be")
        raise ParamsInvalid(f"--param {name}={value}: {problem}.") from None
