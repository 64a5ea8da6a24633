"""A long storm, in which faults happen at random: `python -m tests.chaos.storm_long --seed N --minutes M`."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import threading
import time
from pathlib import Path

from tests.chaos.storm import Storm
from tests.chaos.storm_faults import FAULTS
from tests.chaos.storm_files import REQUESTS

from k9ops.embedded.places import temporary_folder

_PAUSE_S = 3


def run_random_faults(storm: Storm, seed: int, minutes: float) -> dict[str, int]:
    """Let faults of different kinds happen beside each other, one of each kind at a time; return how many of each."""
    ends_at_s = time.monotonic() + minutes * 60
    counts = dict.fromkeys(FAULTS, 0)
    problems: list[BaseException] = []

    def happen(kind: str) -> None:
        chance = random.Random(f"{seed}/{kind}")  # noqa: S311
        names = [name for name, fault in FAULTS.items() if fault.kind == kind]
        try:
            while time.monotonic() < ends_at_s and not problems:
                name = chance.choice(names)
                print(f"{time.monotonic() - ends_at_s + minutes * 60:6.1f} s  {name}", flush=True)
                FAULTS[name].happen(storm, chance)
                counts[name] += 1
                threading.Event().wait(chance.uniform(0.5, 6))
        except BaseException as exc:
            problems.append(exc)

    def ask_for_files() -> None:
        try:
            for job, queue, params in itertools.cycle(REQUESTS):
                if time.monotonic() > ends_at_s or problems:
                    return
                storm.ask_for(job, params, queue=queue)
                threading.Event().wait(_PAUSE_S)
        except BaseException as exc:
            problems.append(exc)

    kinds = sorted({fault.kind for fault in FAULTS.values()} - {"alone"})
    threads = [threading.Thread(target=happen, args=(kind,), name=kind) for kind in kinds]
    threads.append(threading.Thread(target=ask_for_files, name="files"))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return counts


def main() -> int:
    """Run one long storm; exit with 1 when a promise is broken or something is left behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storm_long", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with temporary_folder() as folder:
        with Storm(folder / "storm", arguments.seed, is_long=True) as storm:
            if not storm.disk.is_small:
                print("no right to mount a small disk: it is never full", flush=True)
            if not storm.clock.can_jump:
                print("no libfaketime (Debian: faketime): no clock jumps", flush=True)
            counts = run_random_faults(storm, arguments.seed, arguments.minutes)
            for name, fault in FAULTS.items():
                if fault.kind == "alone":
                    print(name, flush=True)
                    fault.happen(storm, random.Random(arguments.seed))  # noqa: S311
                    counts[name] += 1
            verdict = storm.end()
        is_good = not verdict["broken"] and not verdict["left"]
        if not is_good:
            kept = Path(f"storm-{arguments.seed}")
            kept.mkdir(exist_ok=True)
            for log in (folder / "storm").glob("*.log"):
                (kept / log.name).write_bytes(log.read_bytes())
            print(f"logs in {kept}/")
    print(json.dumps({"seed": arguments.seed, "faults": counts, **verdict}, indent=2, default=str))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
