"""``python -m faults [WORD]``: the whole matrix (or the cases that hold WORD) as a table.

Exit status 1 if a row was lost or doubled, or anything differs from an uninterrupted run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faults.company import COMPANY
from faults.kills import KILLS, kills
from faults.outages import OUTAGES
from faults.stand import Outcome, Stand
from microflow.store.database import create_database, drop_database
from microflow.store.server import ensure_server

SEED = 2026
DATABASE = "microflow_faults"


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    server = ensure_server()
    drop_database(server, DATABASE)
    with tempfile.TemporaryDirectory(prefix="microflow-faults-") as folder:
        stand = Stand(Path(folder), create_database(server, DATABASE))
        outcomes = [_told(outcome) for outcome in _outcomes(stand, word)]
    drop_database(server, DATABASE)
    losses, duplicates = sum(one.losses for one in outcomes), sum(one.duplicates for one in outcomes)
    dirty = [one for one in outcomes if not one.is_clean]
    sys.stdout.write(
        f"\ncases {len(outcomes)}   losses {losses}   duplicates {duplicates}   not byte for byte {len(dirty)}\n"
    )
    return 1 if dirty or not outcomes else 0


def _outcomes(stand: Stand, word: str) -> Iterator[Outcome]:
    for line in KILLS:
        if word in " ".join(map(str, line)):
            yield from kills(stand, line, SEED)
    for case, times in {**OUTAGES, **COMPANY}.items():
        if word in case.__name__:
            yield from (case(stand, SEED + turn) for turn in range(times))


def _told(outcome: Outcome) -> Outcome:
    verdict = "same" if outcome.is_clean else f"DIFFERENT: {', '.join(outcome.differences)}"
    counts = f"losses {outcome.losses}  duplicates {outcome.duplicates}"
    sys.stdout.write(f"{outcome.case:<48} {outcome.note:<28} {counts}  {verdict}\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
