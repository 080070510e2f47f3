"""An assessment as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from microflow.assess.assessment import Assessment
from microflow.assess.rates import Attack
from microflow.assess.reidentification import THRESHOLD

__all__ = ["render"]

_WIDTH = 100
_NAME = 34


def render(assessment: Assessment) -> str:
    """Sections of name and value, and at the end the reasons."""
    return "\n".join([*_classes(assessment), *_risks(assessment), *_losses(assessment), *_why(assessment)])


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
        yield _line(f"l, t of {name}", f"{l_diversity}, {found.t_closeness[name]:.3f}")


def _risks(assessment: Assessment) -> Iterator[str]:
    found = assessment.reidentification
    yield "\nrisk from class sizes"
    yield _line("prosecutor, highest and average", f"{found.prosecutor_highest:.3f}, {found.prosecutor_average:.3f}")
    yield _line(f"rows with risk above {THRESHOLD:g}", f"{found.prosecutor_at_risk:.1%}")
    yield _line("journalist, highest", f"{found.journalist_highest:.3f}")
    yield _line("marketer", f"{found.marketer:.3f}")
    yield "\nrisk by attack                      risk  95 % interval     success  by chance"
    for attack in (*assessment.linkage, assessment.singling_out):
        name = f"{attack.name}, knows {attack.knows}" if attack in assessment.linkage else attack.name
        yield _line(name, _attack(attack))


def _attack(attack: Attack) -> str:
    interval = f"[{attack.low:.3f}, {attack.high:.3f}]"
    return f"{attack.risk:.3f}  {interval:<16}  {attack.main.value:7.1%}  {attack.control.value:9.1%}"


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


def _why(assessment: Assessment) -> Iterator[str]:
    if assessment.reasons:
        yield "\nwhy"
    for reason in assessment.reasons:
        yield fill(reason, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
