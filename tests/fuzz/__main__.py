"""``python -m fuzz [--minutes N] [WORD]``: every target (or those that hold WORD) in turn, for so long in all.

Prints how many inputs each was given, and what it did not stand, as the shortest input that shows it. What is found is
kept in `fuzz.found`, where the test suite tries it again. Exit status 1 if anything was found.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.targets import TARGETS, Target, try_one

#: Inputs between two looks at the clock.
_ROUND = 200
#: Characters of the account of what was found.
_SHOWN = 6_000


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m fuzz")
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options.add_argument("word", nargs="?", default="")
    asked = options.parse_args()
    chosen = {name: target for name, target in TARGETS.items() if asked.word in name}
    sys.stdout.write(f"seed {asked.seed}\n")
    found = sum(_fuzz(name, target, asked.minutes * 60 / len(chosen), asked.seed) for name, target in chosen.items())
    sys.stdout.write(f"\ntargets {len(chosen)}   found {found}\n")
    return 1 if found or not chosen else 0


def _fuzz(name: str, target: Target, seconds: float, start: int) -> bool:
    """Whether anything was found; the target has its turn until its time is over, or it has failed."""
    inputs = 0
    ends = time.monotonic() + seconds

    def count(one: Any) -> None:
        nonlocal inputs
        inputs += 1
        try_one(target, one)

    check = settings(
        max_examples=_ROUND,
        deadline=None,
        derandomize=False,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(given(target.inputs)(count))
    while time.monotonic() < ends:
        try:
            seed(start)(check)()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - it is what is looked for
            sys.stdout.write(f"{name:<16} {inputs:>9,} inputs  FOUND\n")
            sys.stdout.write("".join(traceback.format_exception(error))[-_SHOWN:])
            sys.stdout.flush()
            return True
        start += 1
    sys.stdout.write(f"{name:<16} {inputs:>9,} inputs  stood\n")
    sys.stdout.flush()
    return False


if __name__ == "__main__":
    sys.exit(main())
