"""Which private keys are known to exist: each has opened a backup of this folder once.

A backup that nobody can open is no backup. So one that this machine could prove with its one-off key only counts
as verified when a private key of the same recipients has opened an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from k9ops.durable import write_durably

_NAME = "drills.json"


class Drill(BaseModel):
    """The last time that a private key opened a backup.

    Attributes:
        at: When.
        backup_id: Which.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    backup_id: str


class _Drills(BaseModel):
    keys: Mapping[str, Drill] = {}


def read_drills(folder: Path) -> Mapping[str, Drill]:
    """Return the last drill of each public key; a missing or damaged file knows of none."""
    try:
        return _Drills.model_validate_json((folder / _NAME).read_bytes()).keys
    except (OSError, ValidationError):
        return {}


def record_drill(folder: Path, public_keys: Iterable[str], backup_id: str) -> None:
    """Note that the private keys of these public keys have just opened a backup."""
    drill = Drill(at=datetime.now(UTC), backup_id=backup_id)
    drills = _Drills(keys={**read_drills(folder), **dict.fromkeys(public_keys, drill)})
    text = json.dumps(drills.model_dump(mode="json"), indent=2)
    write_durably(folder / _NAME, text.encode() + b"\n")


def find_drill(folder: Path, recipients: Iterable[str]) -> Drill | None:
    """Return the last drill of any of these public keys, None when there was none."""
    drills = read_drills(folder)
    return max((drills[key] for key in recipients if key in drills), key=lambda drill: drill.at, default=None)
