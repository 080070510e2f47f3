"""``python -m attack [WORD]``: hostile inputs and leaks (or the cases that hold WORD) as a table.

Exit status 1 if anything leaked, or a command ended otherwise than in a clear line.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from attack import endings, hostile, leaks, places

THEMES = {"hostile": hostile.cases, "leaks": leaks.cases, "places": places.cases, "endings": endings.cases}


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    themes = [THEMES[word]] if word in THEMES else list(THEMES.values())
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="microflow-attack-") as folder:
        for theme in themes:
            for outcome in theme(Path(folder), "" if word in THEMES else word):
                if word in THEMES or word in outcome.case:
                    outcomes.append(outcome)
                    verdict = (
                        "refused or harmless" if outcome.is_clean else ", ".join((*outcome.leaks, *outcome.faults))
                    )
                    sys.stdout.write(f"{outcome.case:<52} {outcome.cost:>18}  {verdict}\n")
                    sys.stdout.flush()
    leaked = sum(len(one.leaks) for one in outcomes)
    wrong = sum(bool(one.faults) for one in outcomes)
    sys.stdout.write(f"\ncases {len(outcomes)}   leaks {leaked}   badly ended {wrong}\n")
    return 1 if leaked or wrong or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
