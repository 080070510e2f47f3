"""Re-identification risk as statisticians count it: from class sizes and from the population behind each row.

After El Emam, *Guide to the De-Identification of Personal Health Information* (2013). The population is the original
table. These counts believe what a release says: where values were perturbed they tell little, and the attacks of
`microflow.assess.attacks` are the measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microflow.assess.attacks import affordable, matches
from microflow.assess.pair import Pair

__all__ = ["THRESHOLD", "Reidentification", "reidentification"]

#: Records in classes smaller than five are commonly called at risk.
THRESHOLD = 0.2
_MOST_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Reidentification:
    """Three attackers: one who knows that the target is in the release, one who does not, one who wants everybody.

    ``prosecutor_*`` are 1 over the members of the class at its greatest, on average, and the share of rows above
    `THRESHOLD`; ``journalist_highest`` is 1 over the smallest number of persons that a row may stand for, ``marketer``
    the share of all rows that would be matched correctly. The last two were measured on ``sampled`` rows.
    """

    prosecutor_highest: float
    prosecutor_average: float
    prosecutor_at_risk: float
    journalist_highest: float
    marketer: float
    sampled: int


def reidentification(pair: Pair, rng: np.random.Generator) -> Reidentification:
    """Measure the three risks."""
    rows = pair.released.num_rows
    risk = 1 / pair.members
    sample = rng.choice(rows, affordable(_MOST_ROWS, rows, pair.original.num_rows), replace=False)
    population = matches(pair, sample, np.ones((int(pair.persons.max()) + 1, 1)))[:, 0]
    # A row that stands for nobody, because it was perturbed, leads to nobody.
    found = np.divide(1, population, out=np.zeros_like(population), where=population > 0)
    return Reidentification(
        prosecutor_highest=float(risk.max()),
        prosecutor_average=len(pair.members) / int(pair.members.sum()),
        prosecutor_at_risk=float(pair.sizes[risk > THRESHOLD].sum() / rows),
        journalist_highest=float(found.max()),
        marketer=float(found.mean()),
        sampled=len(sample),
    )
