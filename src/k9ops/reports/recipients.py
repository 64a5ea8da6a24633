"""Where a finished report goes: `drive`, `folder:NAME`, or an e-mail address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from k9ops.config.smtp import check_address
from k9ops.errors import RecipientInvalid

_FOLDER = re.compile(r"[\w-][\w .-]*(?:/[\w-][\w .-]*)*")
_HINT = "it must be an e-mail address, folder:NAME, or drive"


@dataclass(frozen=True)
class Recipient:
    """A place that a report is delivered to.

    Attributes:
        kind: How.
        target: The address, or the folder below `K9OPS_REPORT_DELIVERY_DIR`; "" for Drive.
    """

    kind: Literal["mail", "folder", "drive"]
    target: str = ""

    def __str__(self) -> str:
        """Return the text that is read to the same recipient."""
        return {"mail": self.target, "folder": f"folder:{self.target}", "drive": "drive"}[self.kind]


def parse_recipient(text: str) -> Recipient:
    """Return the recipient of a text.

    Raises:
        RecipientInvalid: It is none.
    """
    if text == "drive":
        return Recipient("drive")
    if text.startswith("folder:"):
        target = text.removeprefix("folder:")
        if not _FOLDER.fullmatch(target):
            raise RecipientInvalid(f"{text!r}: a folder's name has letters, digits, spaces, dots, - and _, as in a/b.")
        return Recipient("folder", target)
    try:
        return Recipient("mail", check_address(text))
    except ValueError:
        raise RecipientInvalid(f"{text!r}: {_HINT}.") from None


def parse_recipients(texts: Sequence[str]) -> tuple[Recipient, ...]:
    """Return recipients, each once.

    Raises:
        RecipientInvalid: One of them is none.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise RecipientInvalid("Recipients must be a list of texts.")
    return tuple(dict.fromkeys(parse_recipient(text) for text in texts))
