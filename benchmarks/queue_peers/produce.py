"""The sending side of the comparison: `produce.py MODULE WHAT COUNT`, the same for every library.

WHAT is `each`, `many` (the library's own way, where it has one), or `paced` with the shortest and the longest pause.
Prints how many seconds it took.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from typing import Any


def produce(jobs: Any, what: str, count: int, pauses_s: list[float]) -> None:
    """Send jobs as asked."""
    if what == "many":
        jobs.send_many(count)
    elif what == "paced":
        shortest_s, longest_s = pauses_s
        for position in range(count):
            time.sleep(shortest_s + (longest_s - shortest_s) * (position * 0.618 % 1))
            jobs.send()
    else:
        for _ in range(count):
            jobs.send()


def main() -> None:
    module, what, count, *pauses_s = sys.argv[1:]
    jobs = importlib.import_module(module)
    with getattr(jobs, "sending", contextlib.nullcontext)():
        started_s = time.perf_counter()
        produce(jobs, what, int(count), [float(pause_s) for pause_s in pauses_s])
        print(time.perf_counter() - started_s)


if __name__ == "__main__":
    main()
