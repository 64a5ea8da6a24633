"""Where a setting's value comes from: the environment, a `_FILE`, the `.env` file, or its default."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic.fields import FieldInfo

from k9ops.errors import SettingsInvalid

DEFAULT_ORIGIN = "default"

_OWN_PREFIX = "K9OPS_"


@dataclass(frozen=True)
class FoundValue:
    """A raw value and its origin.

    Attributes:
        variable: The name it was given under, an alias perhaps.
        text: The value as text.
        origin: For a person, e.g. `environment`, `environment, CELERY_BROKER_URL`, `file /run/secrets/db`.
    """

    variable: str
    text: str
    origin: str


def variable_names(field: FieldInfo) -> tuple[str, ...]:
    """Return the variable's name and its aliases, in the order in which they are looked up."""
    extra: Any = field.json_schema_extra
    return (extra["variable"], *extra["aliases"])


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a `.env` file; none when it does not exist, or lies in a folder closed to this user."""
    try:
        if not path.is_file():
            return {}
    except PermissionError:
        return {}
    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def find_value(field: FieldInfo, environment: Mapping[str, str], env_file: Mapping[str, str]) -> FoundValue | None:
    """Find the first value given for a field; an empty text counts as not given.

    A name wins over its aliases, and the process's environment over the `.env` file. `NAME_FILE` names a
    file that holds the value (the convention of Docker secrets).

    Raises:
        SettingsInvalid: A `_FILE` variable names a file that cannot be read, or both forms are given.
    """
    for source, label in ((environment, "environment"), (env_file, ".env")):
        for position, name in enumerate(variable_names(field)):
            direct, file_name = source.get(name, ""), source.get(f"{name}_FILE", "")
            if direct and file_name:
                raise SettingsInvalid(f"{name} and {name}_FILE are both set: remove one of them.")
            if direct:
                return FoundValue(name, direct, label if position == 0 else f"{label}, {name}")
            if file_name:
                return FoundValue(name, _read_secret_file(name, file_name), f"file {file_name}")
    return None


def find_unknown(fields: Iterable[FieldInfo], given: Iterable[str]) -> list[str]:
    """Return the names that begin as ours and are no variable of any field."""
    known = {name for field in fields for name in variable_names(field)}
    return sorted(
        name for name in given if name.startswith(_OWN_PREFIX) and not {name, name.removesuffix("_FILE")} & known
    )


def _read_secret_file(name: str, file_name: str) -> str:
    try:
        text = Path(file_name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsInvalid(
            f"{name}_FILE = {file_name!r}: it must name a readable text file ({type(exc).__name__})."
        ) from exc
    if not text:
        raise SettingsInvalid(f"{name}_FILE = {file_name!r}: the file is empty.")
    return text


def process_environment() -> dict[str, str]:
    """Return the process's environment; this module is its only reader."""
    return dict(os.environ)


def field_unit(field: FieldInfo) -> str:
    """Return the unit of a field's value, `""` when it has none."""
    extra: Any = field.json_schema_extra
    return str(extra["unit"])


def field_is_secret(field: FieldInfo) -> bool:
    """Tell whether a field's value must never be shown."""
    extra: Any = field.json_schema_extra
    return bool(extra["secret"])
