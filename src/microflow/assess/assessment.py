"""Assessment of a release in one call, its document and text, and the reasons found in released values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.tokenization import REVERSIBLE, VERSIONS
from microflow.assess.attacks import THRESHOLD, Attack, Reidentification, linkage, reidentification, singling_out
from microflow.assess.inference import Presence, inference, linkage_by_passed, presence
from microflow.assess.loss import Loss, Utility, measure_loss, measure_utility
from microflow.assess.pair import Achieved, Pair, achieved
from microflow.errors import InputError
from microflow.schema import DatasetSchema, named_like_persons

__all__ = ["ATTEMPTS", "Assessment", "assess", "reasons", "render"]

ATTEMPTS = 1_000


@dataclass(frozen=True, slots=True)
class Assessment:
    """Results of an assessment; ``linkage`` has one attack for each number of known quasi-identifiers.

    ``linkage_by_passed`` is by an attacker who knows the columns that pass untouched, ``inference`` by one who wants a
    sensitive value; each is ``None`` where there is no such column. ``presence`` is what a release tells about who
    is in it; ``None`` without a control of others.
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
    presence: Presence | None
    loss: Loss
    utility: Utility | None
    reasons: tuple[str, ...]
    seed: int

    @property
    def information_loss(self) -> float:
        """Information loss of the quasi-identifiers, from 0 to 1."""
        return self.loss.information(self.quasi_identifiers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; no personal value is in it."""
        return asdict(self)


def assess(
    original: pa.Table,
    released: pa.Table,
    ordinals: npt.ArrayLike,
    schema: DatasetSchema,
    *,
    control: pa.Table | None = None,
    attempts: int = ATTEMPTS,
    seed: int = 1,
) -> Assessment:
    """Measure a release against its original.

    Args:
        original: the rows as they were, in the schema's types.
        released: the rows that left; quasi-identifiers may be labels (text) or values.
        ordinals: for each released row, the row of ``original`` it came from; `microflow.assess.align` finds them.
        schema: says which columns are quasi-identifiers and which are sensitive.
        control: others of the same population who are not in the release, for the attack on membership.
        attempts: targets of each attack; fewer are taken where more would take minutes.
        seed: of the choice of targets, guesses and training rows: equal seeds give equal assessments.

    Raises:
        InputError: the tables do not fit the schema or each other, or there is no quasi-identifier.
    """
    if not schema.quasi_identifiers:
        raise InputError(f"schema {schema.name!r} has no quasi-identifiers", hint="an attacker would know nothing")
    pair = Pair.of(schema, original, released, ordinals)
    # A stream of its own for each measure: what one draws does not move the next one's sample.
    streams = iter(np.random.default_rng(seed).spawn(7 + len(pair.quasi)))
    attacks = tuple(linkage(pair, knows, attempts, next(streams)) for knows in range(1, len(pair.quasi) + 1))
    loss = measure_loss(pair, next(streams))
    return Assessment(
        schema=schema.name,
        rows=original.num_rows,
        quasi_identifiers=tuple(quasi.column.name for quasi in pair.quasi),
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
        presence=None if control is None else presence(pair, control, attempts, next(streams)),
    )


#: A whole token (see `microflow.anonymize.tokenization`).
TOKEN = rf"^(?:{'|'.join(VERSIONS)})\.[^.]*\.[^.]*$"

#: A linkage risk that calls for an explanation.
_HIGH = 0.2
#: Less than this is what remedies do (a shortened code, an age of 90 or older).
_PERTURBED = 0.05


def reasons(pair: Pair, loss: Loss, linkage_risk: float) -> tuple[str, ...]:
    """Sentences for the report; none holds a value."""
    found = [*_repeated_persons(pair), *_identifiers(pair), *_quasi_identifiers(pair, loss, linkage_risk)]
    if pair.suppressed:
        found.append(f"{pair.suppressed} of {pair.original.num_rows} rows were suppressed.")
    return tuple(found)


def _repeated_persons(pair: Pair) -> list[str]:
    """Columns that seem to tell persons apart, of whom some have several rows, where rows are counted."""
    if pair.unit == "person":
        return []
    repeated = []
    for name in named_like_persons([name for name in pair.original.column_names if name != pair.schema.record_id]):
        values = pair.original[name].drop_null()
        repeated += [name] if pc.count_distinct(values).as_py() < len(values) else []
    sign = "named like a person's, and values occur in several rows. Rows were counted, and k of persons is less"
    return [f"{', '.join(repeated)}: {sign}: describe the column with role: person."] if repeated else []


def _identifiers(pair: Pair) -> list[str]:
    tokens, reversible, unchanged = [], [], []
    for column in pair.schema.identifiers:
        before = pair.original[column.name].combine_chunks().take(pair.ordinals).cast(pa.string())
        after = pair.released[column.name].combine_chunks().cast(pa.string())
        if after.null_count < len(after) and pc.all(pc.match_substring_regex(after, TOKEN)).as_py():
            tokens.append(column.name)
            reversible += [column.name] if pc.any(pc.starts_with(after, REVERSIBLE + ".")).as_py() else []
        elif pc.any(pc.equal(before, after)).as_py():
            unchanged.append(column.name)
    found = []
    if tokens:
        found.append(
            f"{', '.join(tokens)}: pseudonymised by tokens. Pseudonymised data remain personal data (GDPR Art. 4(5), "
            "recital 26): a holder of the key can single persons out, and equal tokens link records to each other."
        )
    if reversible:
        found.append(f"{', '.join(reversible)}: the key holder can turn these tokens back into the values.")
    if unchanged:
        found.append(f"{', '.join(unchanged)}: identifiers are released as they were.")
    return found


def _quasi_identifiers(pair: Pair, loss: Loss, linkage_risk: float) -> list[str]:
    perturbed = [quasi.column.name for quasi in pair.quasi if loss.columns[quasi.column.name].distortion > _PERTURBED]
    untouched = [
        quasi.column.name
        for quasi in pair.quasi
        if quasi.column.name not in perturbed
        and np.mean(quasi.labels.width[quasi.labels.codes] == 0) > 1 - _PERTURBED  # nearly every row tells the value
    ]
    found = []
    if untouched and linkage_risk > _HIGH:
        found.append(
            f"{', '.join(untouched)}: released as precisely as they came, so that an attacker who knows them finds the "
            f"record again. This is where the linkage risk of {linkage_risk:.0%} comes from."
        )
    if perturbed:
        found.append(
            f"{', '.join(perturbed)}: values were perturbed or removed. Class sizes (k, prosecutor risk) say little "
            "about such a release; the attacks do."
        )
    return found


_WIDTH = 100
_NAME = 34


def render(assessment: Assessment) -> str:
    """Sections of name and value, and at the end the reasons."""
    lines = [*_classes(assessment), *_risks(assessment), *_losses(assessment)]
    lines += ["\nwhy"] if assessment.reasons else []
    lines += (fill(why, _WIDTH, initial_indent="  - ", subsequent_indent="    ") for why in assessment.reasons)
    return "\n".join(lines)


def _line(name: str, value: str) -> str:
    return f"  {name:<{_NAME}}{value}"


def _classes(assessment: Assessment) -> Iterator[str]:
    found = assessment.achieved
    yield f"{found.rows:,} of {assessment.rows:,} rows released, {found.suppressed:,} suppressed"
    yield f"quasi-identifiers: {', '.join(assessment.quasi_identifiers)}"
    yield "\nequivalence classes"
    yield _line(f"k (smallest class, in {found.unit}s)", f"{found.k:,}")
    yield _line("classes, C_avg", f"{found.classes:,}, {found.average_class:.3g}")
    yield _line("discernibility", f"{found.discernibility:,}")
    for name, l_diversity in found.l_diversity.items():
        c = found.recursive_c[name]
        yield _line(f"l, t of {name}", f"{l_diversity}, {found.t_closeness[name]:.3f}" + (f"; c {c:.3g}" if c else ""))


def _risks(assessment: Assessment) -> Iterator[str]:
    found = assessment.reidentification
    yield "\nrisk from class sizes"
    yield _line("prosecutor, highest and average", f"{found.prosecutor_highest:.3f}, {found.prosecutor_average:.3f}")
    yield _line(f"rows with risk above {THRESHOLD:g}", f"{found.prosecutor_at_risk:.1%}")
    yield _line("journalist, highest", f"{found.journalist_highest:.3f}")
    yield _line("marketer", f"{found.marketer:.3f}")
    yield "\nrisk by attack                      risk  95 % interval     success  by chance"
    who = assessment.presence
    others = [assessment.singling_out, assessment.linkage_by_passed, assessment.inference]
    others += [] if who is None else [who.membership]
    for attack in (*assessment.linkage, *filter(None, others)):
        name = f"{attack.name}, knows {attack.knows}" if attack in assessment.linkage else attack.name
        rates = f"{attack.main.value:7.1%}  {attack.control.value:9.1%}"
        yield _line(name, f"{attack.risk:.3f}  {f'[{attack.low:.3f}, {attack.high:.3f}]':<16}  {rates}")
    if who is not None:
        yield f"\nagainst a population of {who.population:,} {assessment.achieved.unit}s"
        yield _line("k-map (fewest that a row may be)", f"{who.k_map:,}")
        yield _line("δ-presence", f"{who.delta_low:.3f} to {who.delta_high:.3f}")


def _losses(assessment: Assessment) -> Iterator[str]:
    loss = assessment.loss
    yield "\nwhat was lost                       NCP    distortion  total variation"
    for name, column in loss.columns.items():
        yield _line(name, f"{column.ncp:.3f}  {column.distortion:10.3f}  {column.total_variation:15.3f}")
    yield _line("all quasi-identifiers (GCP)", f"{loss.gcp:.3f}")
    yield _line("correlation change", f"{loss.correlation_change:.3f}")
    if (utility := assessment.utility) is not None:
        yield f"\na model of {utility.target} from the quasi-identifiers, balanced accuracy on originals"
        yield _line("trained on originals", f"{utility.of_originals:.3f}")
        yield _line("trained on the release", f"{utility.of_released:.3f}")
        yield _line("by chance", f"{utility.by_chance:.3f}")
