"""`k9ops config`: the settings in force and where they came from."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from k9ops.cli.output import JsonFlag, print_json, print_table
from k9ops.cli.session import open_settings
from k9ops.config.settings import LoadedSettings, Settings, get_loaded_settings
from k9ops.config.sources import field_is_secret, field_unit, variable_names

app = typer.Typer(help="Look at the settings.", no_args_is_help=True)

_MASK = "***"
_SECRET_WORDS = ("password", "secret", "token", "key")


@app.command("show")
def show(as_json: JsonFlag = False) -> None:
    """Show every setting: its variable, the value in force, and where that came from; secrets are masked."""
    open_settings()
    rows = describe_settings(get_loaded_settings())
    if as_json:
        print_json({"settings": rows})
        return
    cells = [
        [row["variable"], f"{row['value']} {row['unit']}".rstrip() or "-", row["origin"], row["meaning"]]
        for row in rows
    ]
    print_table(("variable", "value", "from", "meaning"), cells, empty="")


def describe_settings(loaded: LoadedSettings) -> list[dict[str, Any]]:
    """Return variable, value, unit, origin and meaning of each setting, ready to be shown."""
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(loaded.settings, name)
        rows.append(
            {
                "variable": variable_names(field)[0],
                "value": mask_value(value, is_secret=field_is_secret(field)),
                "unit": field_unit(field),
                "origin": loaded.origins[name],
                "meaning": field.description,
            }
        )
    return rows


def mask_value(value: Any, *, is_secret: bool) -> str:
    """Return a value as it may be shown: of a secret URL everything but its passwords, of another secret nothing."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else "" if value is None else str(value)
    if not is_secret or not text:
        return text
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return _MASK
    query = {
        name: _MASK if any(word in name.lower() for word in _SECRET_WORDS) else part for name, part in url.query.items()
    }
    return url.set(query=query).render_as_string(hide_password=True)
