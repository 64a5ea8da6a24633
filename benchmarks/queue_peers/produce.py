"""The sending side of the comparison, the same for every library."""

from __future__ import annotations

import time
from collections.abc import Callable


def produce(arguments: list[str], send: Callable[[], None], send_many: Callable[[int], None] | None = None) -> None:
    """Send jobs as asked, and print how many seconds that took.

    Args:
        arguments: `each COUNT`, `many COUNT`, or `paced COUNT SHORTEST_S LONGEST_S`.
        send: Sends one job.
        send_many: Sends many in the library's own way, where it has one.
    """
    what, count = arguments[0], int(arguments[1])
    if what == "paced":
        shortest_s, longest_s = float(arguments[2]), float(arguments[3])
        for position in range(count):
            time.sleep(shortest_s + (longest_s - shortest_s) * ((position * 0.618) % 1))
            send()
        return
    started_s = time.perf_counter()
    if what == "many" and send_many:
        send_many(count)
    else:
        for _ in range(count):
            send()
    print(time.perf_counter() - started_s)
