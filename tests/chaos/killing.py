"""Makes a process kill itself once, where a function is called or has returned."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kill_once() -> None:
    """Kill this process, unless it or another one has been killed already in this test."""
    try:
        Path(os.environ["KILL_MARK"]).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def before(module: Any, name: str, *, is_here: Callable[[], bool] = lambda: True) -> Callable[[], None]:
    """Return what plants a kill before the first call of a function.

    Args:
        module: Where the function is looked up when it is called.
        name: Of the function.
        is_here: Asked at each call whether this is the one.
    """
    return lambda: _wrap(module, name, is_here, is_after=False)


def after(module: Any, name: str, *, is_here: Callable[[], bool] = lambda: True) -> Callable[[], None]:
    """Return what plants a kill after the first call of a function."""
    return lambda: _wrap(module, name, is_here, is_after=True)


def at_call(number: int) -> Callable[[], bool]:
    """Return a condition that holds at one call only, counted from 1."""
    calls = 0

    def is_here() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    return is_here


def _wrap(module: Any, name: str, is_here: Callable[[], bool], *, is_after: bool) -> None:
    original = getattr(module, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        matters = is_here()
        if matters and not is_after:
            kill_once()
        result = original(*args, **kwargs)
        if matters and is_after:
            kill_once()
        return result

    setattr(module, name, wrapped)
