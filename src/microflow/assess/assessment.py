"""One call that measures everything, and the document it gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.assess.attacks import linkage, singling_out
from microflow.assess.classes import Achieved, achieved
from microflow.assess.evidence import reasons
from microflow.assess.inference import inference, linkage_by_passed
from microflow.assess.loss import Loss, measure_loss
from microflow.assess.pair import Pair
from microflow.assess.rates import Attack
from microflow.assess.reidentification import Reidentification, reidentification
from microflow.assess.utility import Utility, measure_utility
from microflow.errors import InputError
from microflow.schema import DatasetSchema

__all__ = ["ATTEMPTS", "Assessment", "assess"]

ATTEMPTS = 1_000


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything measured. ``linkage`` holds one attack for each number of quasi-identifiers the attacker knows.

    ``linkage_by_passed`` is by an attacker who knows the columns that pass untouched, ``inference`` by one who wants a
    sensitive value; each is ``None`` where there is no such column.
    """

    schema: str
    rows: int
    quasi_identifiers: tuple[str, ...]
    achieved: Achieved
    reidentification: Reidentification
    linkage: tuple[Attack, ...]
    singling_out: Attack
    linkage_by_passed: Attack | None
    inference: Attack | None
    loss: Loss
    utility: Utility | None
    reasons: tuple[str, ...]
    seed: int

    @property
    def linkage_risk(self) -> float:
        """The risk from an attacker who knows every quasi-identifier."""
        return self.linkage[-1].risk

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; no personal value is in it."""
        return asdict(self)


def assess(
    original: pa.Table,
    released: pa.Table,
    ordinals: npt.ArrayLike,
    schema: DatasetSchema,
    *,
    attempts: int = ATTEMPTS,
    seed: int = 1,
) -> Assessment:
    """Measure a release against its original.

    Args:
        original: the rows as they were, in the schema's types.
        released: the rows that left; quasi-identifiers may be labels (text) or values.
        ordinals: for each released row, the row of ``original`` it came from; `microflow.assess.align` finds them.
        schema: says which columns are quasi-identifiers and which are sensitive.
        attempts: targets of each attack; fewer are taken where more would take minutes.
        seed: of the choice of targets, guesses and training rows: equal seeds give equal assessments.

    Raises:
        InputError: the tables do not fit the schema or each other, or there is no quasi-identifier.
    """
    if not schema.quasi_identifiers:
        raise InputError(f"schema {schema.name!r} has no quasi-identifiers", hint="an attacker would know nothing")
    pair = Pair.of(schema, original, released, ordinals)
    # A stream of its own for each measure: what one draws does not move the next one's sample.
    streams = iter(np.random.default_rng(seed).spawn(6 + len(pair.quasi)))
    attacks = tuple(linkage(pair, knows, attempts, next(streams)) for knows in range(1, len(pair.quasi) + 1))
    loss = measure_loss(pair, next(streams))
    return Assessment(
        schema=schema.name,
        rows=original.num_rows,
        quasi_identifiers=tuple(one.column.name for one in pair.quasi),
        achieved=achieved(pair),
        reidentification=reidentification(pair, next(streams)),
        linkage=attacks,
        singling_out=singling_out(pair, attempts, next(streams)),
        loss=loss,
        utility=measure_utility(pair, next(streams)),
        reasons=reasons(pair, loss, attacks[-1].risk),
        seed=seed,
        linkage_by_passed=linkage_by_passed(pair, attempts, next(streams)),
        inference=inference(pair, attempts, next(streams)),
    )
