"""``python -m faults [WORD]``: the whole matrix (or the cases that hold WORD) as a table.

Exit status 1 if a row was lost or doubled, anything differs from an uninterrupted run, or a forgery is accepted.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from faults.forgery import FORGERY
from faults.interference import INTERFERENCE
from faults.kills import KILLS
from faults.outages import OUTAGES
from faults.stand import Case, Outcome, Stand
from microflow.store.database import drop_database
from microflow.store.server import create_database, ensure_server

__all__ = ["MATRIX"]

MATRIX: dict[str, tuple[Case, int]] = {**KILLS, **OUTAGES, **INTERFERENCE, **FORGERY}
SEED = 2026
#: Of this process, so that pieces of the matrix can run side by side.
DATABASE = f"microflow_faults_{os.getpid()}"


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    server = ensure_server()
    with tempfile.TemporaryDirectory(prefix="microflow-faults-") as folder:
        stand = Stand(Path(folder), create_database(server, DATABASE))
        outcomes = [
            _run(stand, name, case, SEED + turn)
            for name, (case, times) in MATRIX.items()
            if word in name
            for turn in range(times)
        ]
    drop_database(server, DATABASE)
    losses, duplicates = sum(one.losses for one in outcomes), sum(one.duplicates for one in outcomes)
    wrong = sum(not one.is_clean for one in outcomes)
    sys.stdout.write(f"\ncases {len(outcomes)}   losses {losses}   duplicates {duplicates}   not as expected {wrong}\n")
    return 1 if wrong or not outcomes else 0


def _run(stand: Stand, name: str, case: Case, seed: int) -> Outcome:
    """Run a case and print its line; a case that did not get through is one that differs, and the next has its turn."""
    try:
        outcome = case(stand, seed)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs in the table
        outcome = Outcome(0, 0, (f"{type(error).__name__}: {error}",))
    verdict = "same" if outcome.is_clean else f"DIFFERENT: {', '.join(outcome.differences)}"
    counts = f"losses {outcome.losses}  duplicates {outcome.duplicates}"
    sys.stdout.write(f"{name:<48} {outcome.note:<28} {counts}  {verdict}\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
