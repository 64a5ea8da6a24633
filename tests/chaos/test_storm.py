"""Each fault once, in this order, to workers, a scheduler and a producer at work: no promise is broken by any."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.storm import Storm
from tests.chaos.storm_faults import FAULTS

SEED = 7
# More starts of workers, a minute, and what only long storms have.
LEFT_TO_LONG_ONES = (
    "both workers killed",
    "redis stopped for a minute",
    "disk full",
    "clock of a worker jumps",
    "rolling restart with messages of older releases",
)


def test_every_run_has_one_outcome_and_one_effect_after_every_fault(server_folder: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311
    print(f"seed {SEED}")
    with Storm(server_folder / "storm", SEED, pause_s=0.2) as storm:
        for name, fault in FAULTS.items():
            if name in LEFT_TO_LONG_ONES:
                continue
            print(name)
            fault.happen(storm, chance)
            storm.wait_for_effects()
        verdict = storm.end()
    assert verdict["broken"] == {}
    assert verdict["left"] == {}
    figures = verdict["figures"]
    assert figures["poison"] >= 1
    assert figures["lost workers"] >= 3
    assert figures["put back"] >= 1
    assert figures["sent again"] >= 1
