"""Search for the settings that meet the constraints: a race of all settings over samples of growing size.

Every candidate is tried on a small sample. Those that cannot be the answer any more, by the intervals of what is
predicted for the whole file, drop out, and the others are tried on a sample four times as large (racing on intervals,
Maron and Moore 1994).

Risk and loss follow a power law in the number of rows where classes are formed from data: with more rows there are more
rows like each, so that fewer are unique and labels become narrower. The exponent is that of the two largest samples,
because it changes with the size, and its uncertainty grows with the distance to the size asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from microflow.advise.sample import ATTEMPTS, SETTINGS, Trial, Trials
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess.attacks import Z_95

__all__ = ["Candidate", "Constraints", "Estimate", "Search", "extrapolate", "search"]

#: Below this a risk or loss is taken for zero: no power law is fitted through attempts that all failed.
_FLOOR = 1e-3
#: A measured exponent has this standard error at least.
_LEAST_ERROR = 0.03


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share from 0 to 1 with a 95 % interval, and whether it was extrapolated beyond what was measured."""

    value: float
    low: float
    high: float
    is_extrapolated: bool

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def extrapolate(
    sizes: Sequence[int],
    values: Sequence[float],
    last: tuple[float, float],
    rows: int,
    *,
    exponents: tuple[float, float] = (-1.0, 0.0),
) -> Estimate:
    """Predict a share at ``rows`` rows from samples of ``sizes``.

    Args:
        sizes: Rows of each sample, ascending.
        values: What was measured on each.
        last: The 95 % interval of the largest sample's value.
        rows: The size asked for.
        exponents: The least and greatest exponent that is possible: a share of unique rows falls with 1/n at most.

    Returns:
        The measured value and interval where ``rows`` is the largest sample's size, else the power law through the
        largest sample, with the interval widened by the exponent's standard error.

    >>> extrapolate([1_000, 10_000], [0.4, 0.2], (0.18, 0.22), 10_000).value
    0.2
    >>> round(extrapolate([1_000, 10_000], [0.4, 0.2], (0.18, 0.22), 100_000).value, 3)
    0.1
    """
    value, (low, high) = values[-1], last
    # A file no larger than the sample has been measured.
    if rows <= sizes[-1]:
        return Estimate(value, low, high, is_extrapolated=False)
    distance = math.log(rows / sizes[-1])
    slope, error = _exponent(sizes, values, (high - low) / (2 * Z_95 * value) if value > 0 else math.inf)
    slope = min(max(slope, exponents[0]), exponents[1])
    factor, spread = math.exp(slope * distance), Z_95 * error * distance
    # The interval holds what both ends of the measured interval and of the exponent allow.
    steepest = math.exp(max(slope * distance - spread, exponents[0] * distance))
    flattest = math.exp(min(slope * distance + spread, exponents[1] * distance))
    return Estimate(value * factor, low * steepest, min(high * flattest, 1.0), is_extrapolated=True)


def _exponent(sizes: Sequence[int], values: Sequence[float], error: float) -> tuple[float, float]:
    """The slope of log value over log size between the two largest sizes, and its standard error.

    ``error`` is the standard error of the last value's logarithm; that of the one before is taken for the same. Where
    there are three sizes, half of what the slope changed between them is added: it may change again.
    """
    usable = np.array([(size, value) for size, value in zip(sizes, values, strict=True) if value > _FLOOR])[-3:]
    if len(usable) < 2:  # noqa: PLR2004 - two points make a line
        return 0.0, math.inf
    steps, changes = np.diff(np.log(usable), axis=0).T
    slopes = changes / steps
    return float(slopes[-1]), math.hypot(math.sqrt(2) * error / steps[-1], (slopes[-1] - slopes[0]) / 2, _LEAST_ERROR)


#: Classes that are formed from data get narrower with more rows, along each of several dimensions; noise and tokens do
#: not depend on other rows.
_LOSS_EXPONENTS = (-0.5, 0.05)
#: Decimals beyond which two shares are alike.
_ALIKE = 3
#: The threshold for releases to a known recipient of the European Medicines Agency (policy 0070) and Health Canada.
DEFAULT_MAX_RISK = 0.09


@dataclass(frozen=True, slots=True)
class Constraints:
    """A release's greatest linkage risk above its control, and the least part of the information left (1 − loss)."""

    max_risk: float = DEFAULT_MAX_RISK
    min_utility: float = 0.0


@dataclass
class Candidate:
    """Setting with the present estimates of its risk and loss."""

    settings: MethodSettings
    trials: list[Trial] = field(default_factory=list)
    risk: Estimate = field(init=False)
    loss: Estimate = field(init=False)

    def add(self, trial: Trial, rows: int) -> None:
        """Add the trial of a larger sample, and predict risk and loss for ``rows`` rows again."""
        self.trials.append(trial)
        sizes = [attempt.rows for attempt in self.trials]
        self.risk = extrapolate(sizes, [attempt.risk[0] for attempt in self.trials], trial.risk[1:], rows)
        losses = [attempt.loss for attempt in self.trials]
        # The loss of a sample is counted over all of its rows: it has no interval of its own until it is extrapolated.
        exponents = _LOSS_EXPONENTS if self.settings.method is Method.K_ANONYMITY else (0.0, 0.0)
        self.loss = extrapolate(sizes, losses, (losses[-1], losses[-1]), rows, exponents=exponents)

    @property
    def utility(self) -> float:
        """Share of the information that is left, from 0 to 1."""
        return 1 - self.loss.value

    @property
    def rate(self) -> float:
        """Records per second of pure processing on one core, on the largest sample tried."""
        return self.trials[-1].rows / self.trials[-1].pure_ns * 1e9

    @property
    def needs(self) -> float:
        """Smallest limit of risk under which the candidate is allowed.

        A release is attacked again, and judged by its own interval's upper end: the half-width of that one comes on top
        of the upper end that is predicted.
        """
        high = self.risk.high
        return min(high + Z_95 * math.sqrt(high * (1 - high) / ATTEMPTS), 1.0)

    def meets(self, constraints: Constraints) -> bool:
        """True if both constraints hold at the unfavourable ends of the intervals."""
        return self.needs <= constraints.max_risk and 1 - self.loss.high >= constraints.min_utility

    def may_meet(self, constraints: Constraints) -> bool:
        """True if both constraints hold at the favourable ends of the intervals."""
        return self.risk.low <= constraints.max_risk and 1 - self.loss.low >= constraints.min_utility


@dataclass(frozen=True)
class Search:
    """Result of a search: all candidates, the best first, and the advised one.

    Attributes:
        candidates: Those that were tried to the end come first, by utility.
        constraints: What was asked for.
        rows: The size that everything is predicted for.
        refused: Settings that cannot be used on such a file, and why.
    """

    candidates: tuple[Candidate, ...]
    constraints: Constraints
    rows: int
    refused: Mapping[MethodSettings, str] = field(default_factory=dict)

    @property
    def feasible(self) -> list[Candidate]:
        """Candidates that meet the constraints: by most utility, then least risk, then strongest guarantee.

        Tokens guarantee nothing against linkage; of two releases that keep as much the one of larger classes is better.
        """

        def order(candidate: Candidate) -> tuple[float, float, bool, float]:
            settings, is_noise = candidate.settings, candidate.settings.method is Method.DIFFERENTIAL_PRIVACY
            promise = settings.epsilon if is_noise else -float(settings.k)
            kept, risk = round(candidate.utility, _ALIKE), round(candidate.risk.value, _ALIKE)
            return -kept, risk, settings.method is Method.TOKENIZATION, promise

        return sorted((found for found in self.candidates if found.meets(self.constraints)), key=order)

    @property
    def advised(self) -> Candidate | None:
        """The setting that keeps most and meets the constraints, or ``None``."""
        return next(iter(self.feasible), None)

    @property
    def frontier(self) -> list[Candidate]:
        """The candidates that no other betters in both risk and loss (Pareto), least loss first."""
        front: list[Candidate] = []
        for candidate in sorted(self.candidates, key=lambda candidate: (candidate.loss.value, candidate.risk.value)):
            if not front or candidate.risk.value < front[-1].risk.value:
                front.append(candidate)
        return front


def search(
    trials: Trials,
    constraints: Constraints,
    *,
    rows: int | None = None,
    settings: Sequence[MethodSettings] = SETTINGS,
    progress: Callable[[int, int], object] = lambda _done, _all: None,
) -> Search:
    """Race ``settings`` on samples of growing size.

    Args:
        trials: What tries a setting on the file's sample.
        constraints: What the release must meet at full size.
        rows: The full size; by default that of the file.
        settings: The candidates.
        progress: Called with the number of trials done and planned.
    """
    sample = trials.sample
    target, rungs = rows or sample.rows_in_file, sample.rungs()
    refused = {setting: why for setting in settings if (why := trials.refusal(setting))}
    racing = [Candidate(setting) for setting in settings if setting not in refused]
    finished, done = list[Candidate](), 0
    for left, rung in zip(reversed(range(len(rungs))), rungs, strict=True):
        for place, candidate in enumerate(racing, 1):
            candidate.add(trials.attempt(candidate.settings, rung), target)
            done += 1
            progress(done, done + len(racing) - place + len(racing) * left)
        if left:
            out = [candidate for candidate in racing if _is_out(candidate, racing, constraints)]
            # Where none can meet the constraints, all go on: the nearest to them show what an answer would cost.
            if len(out) < len(racing):
                racing, finished = [candidate for candidate in racing if candidate not in out], finished + out
    return Search((*racing, *finished), constraints, target, refused)


def _is_out(candidate: Candidate, racing: Sequence[Candidate], constraints: Constraints) -> bool:
    """True if a candidate misses the constraints for certain, or another is sure to meet them and to keep more."""
    if not candidate.may_meet(constraints):
        return True
    return any(other.meets(constraints) and other.loss.high < candidate.loss.low for other in racing)
