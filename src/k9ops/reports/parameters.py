"""The parameters of a report: what was typed, checked against the definition and turned into values."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from k9ops.errors import ParamsInvalid
from k9ops.reports.definition import Parameter, Report

_RELATIVE = re.compile(r"^(today|yesterday|month_start|last_month_start|last_month_end|year_start)([+-]\d{1,4})?$")
_DATE_HINT = "a date such as 2026-10-31, or today, yesterday, today-7, month_start, last_month_start, last_month_end"
_MONTH_HINT = "a month such as 2026-10, or this_month or last_month"


@dataclass(frozen=True)
class Month:
    """A month of the calendar.

    Attributes:
        first: Its first day.
        last: Its last day.
    """

    first: date
    last: date


@dataclass(frozen=True)
class Reference:
    """A project, dog, employee or handler report, as it was typed: its id, code or number."""

    text: str

    @property
    def id(self) -> uuid.UUID | None:
        """The id, if it is one."""
        try:
            return uuid.UUID(self.text)
        except ValueError:
            return None


def check_parameters(report: Report, given: Mapping[str, Any], *, today: date) -> dict[str, Any]:
    """Return the value of every parameter of a report; one that is left open has the value None.

    Args:
        report: Says which there are.
        given: Texts by name; None and `""` count as not given.
        today: The unit's date, which relative dates count from.

    Raises:
        ParamsInvalid: Names the parameter and what it must be.
    """
    known = {parameter.name: parameter for parameter in report.all_parameters}
    for name in given:
        if name not in known:
            raise ParamsInvalid(f"{report.key} has no parameter {name!r}; its parameters are: {', '.join(known)}.")
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        raw = given.get(name)
        text = parameter.default if raw in (None, "") else raw
        if text is None:
            if parameter.is_required:
                raise ParamsInvalid(
                    f"{report.key}: the parameter {name} is missing; it must be {_describe(parameter)}."
                )
            values[name] = None
            continue
        values[name] = _read(parameter, text, today)
    first, last = values.get("from"), values.get("to")
    if first is not None and last is not None and first > last:
        raise ParamsInvalid(f"from = {first}: it must not be later than to = {last}.")
    return values


def describe_default(parameter: Parameter) -> str:
    """Return what a parameter is when it is not given, for a person."""
    return parameter.default or ("required" if parameter.is_required else "all")


def _read(parameter: Parameter, raw: Any, today: date) -> Any:
    if not isinstance(raw, str):
        raise ParamsInvalid(f"{parameter.name} = {raw!r}: it must be a text, {_describe(parameter)}.")
    text = raw.strip()
    value: Any = None
    if parameter.kind == "date":
        value = _read_date(text, today)
    elif parameter.kind == "month":
        value = _read_month(text, today)
    elif parameter.kind == "choice":
        value = text if text in parameter.choices else None
    elif text and len(text) <= 100 and text.isprintable():
        value = Reference(text)
    if value is None:
        raise ParamsInvalid(f"{parameter.name} = {text!r}: it must be {_describe(parameter)}.")
    return value


def _describe(parameter: Parameter) -> str:
    return {
        "date": _DATE_HINT,
        "month": _MONTH_HINT,
        "choice": f"one of {', '.join(parameter.choices)}",
        "project": "the code or the id of a project",
        "dog": "the code or the id of a dog",
        "employee": "the number or the id of an employee",
        "handler_report": "the id of a handler report",
    }[parameter.kind]


def _read_date(text: str, today: date) -> date | None:
    relative = _RELATIVE.match(text)
    if relative is None:
        return _parse_day(text)
    month_start = today.replace(day=1)
    start = {
        "today": today,
        "yesterday": today - timedelta(days=1),
        "month_start": month_start,
        "last_month_start": (month_start - timedelta(days=1)).replace(day=1),
        "last_month_end": month_start - timedelta(days=1),
        "year_start": today.replace(month=1, day=1),
    }[relative[1]]
    return start + timedelta(days=int(relative[2] or 0))


def _read_month(text: str, today: date) -> Month | None:
    this = today.replace(day=1)
    if text == "this_month":
        first: date | None = this
    elif text == "last_month":
        first = (this - timedelta(days=1)).replace(day=1)
    else:
        first = _parse_day(f"{text}-01") if re.fullmatch(r"\d{4}-\d{2}", text) else None
    if first is None:
        return None
    following = (first + timedelta(days=31)).replace(day=1)
    return Month(first, following - timedelta(days=1))


def _parse_day(text: str) -> date | None:
    if not re.fullmatch(r"(19|20|21)\d\d-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
