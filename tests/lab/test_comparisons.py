"""A comparison has three answers, and says equivalent only where a test shows it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from microflow.errors import MicroflowError
from microflow.lab.statistics import MARGIN, Verdict, compare, log_ratio

WOBBLE = np.linspace(-0.0001, 0.0001, 8)


def test_three_answers() -> None:
    """Outside margin and floor: different; inside the margin: equivalent; too noisy for either: undecided."""
    noisy = np.exp(np.random.default_rng(3).normal(0.03, 0.2, 8))
    samples = {
        "reference": [[1.0]] * 8,
        "again": [[1.03 + w] for w in WOBBLE],
        "inside": [[1.01 + w] for w in WOBBLE],
        "outside": [[1.20 + w] for w in WOBBLE],
        "less": [[0.80 + w] for w in WOBBLE],
        "noisy": [[value] for value in noisy],
    }
    analysis = compare(samples, "reference", "again")
    assert analysis.noise_floor == pytest.approx(0.03, abs=0.001)
    assert MARGIN == 0.05
    verdicts = {comparison.arm: comparison.verdict for comparison in analysis.comparisons}
    assert verdicts == {
        "inside": Verdict.EQUIVALENT, "outside": Verdict.DIFFERENT, "less": Verdict.DIFFERENT,
        "noisy": Verdict.UNDECIDED,
    }  # fmt: skip
    outside = analysis["outside"].ratio
    assert outside.low <= outside.value <= outside.high


def test_a_sure_difference_inside_the_margin_is_equivalence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A significant 1 % is as good as equal at a margin of 5 %, and a difference at one of 0.5 %."""
    samples = {"reference": [[1.0]] * 8, "arm": [[1.01 + w] for w in WOBBLE]}
    assert compare(samples, "reference")["arm"].verdict is Verdict.EQUIVALENT
    monkeypatch.setattr("microflow.lab.statistics.MARGIN", 0.005)
    assert compare(samples, "reference")["arm"].verdict is Verdict.DIFFERENT


def test_a_difference_inside_the_noise_floor_is_undecided() -> None:
    """8 % means nothing where the same arm measured twice differs by 10 %, and equal they are not shown to be."""
    samples = {
        "reference": [[1.0]] * 8, "again": [[1.1 + w] for w in WOBBLE], "arm": [[1.08 + w] for w in WOBBLE]
    }  # fmt: skip
    assert compare(samples, "reference", "again")["arm"].verdict is Verdict.UNDECIDED


def test_equivalence_is_two_one_sided_t_tests() -> None:
    """scipy's one-sided tests against either end of the margin are the oracle: the larger p counts."""
    ratios = np.random.default_rng(5).normal(0.01, 0.03, 9)
    found = log_ratio([[math.exp(x)] for x in ratios], [[1.0]] * 9)
    limit = math.log(1.05)
    above = stats.ttest_1samp(ratios, -limit, alternative="greater").pvalue
    below = stats.ttest_1samp(ratios, limit, alternative="less").pvalue
    assert found.p_equivalent == pytest.approx(max(above, below))
    assert found.p_different == pytest.approx(stats.ttest_1samp(ratios, 0).pvalue)


def test_arms_of_unequal_speed_are_seldom_called_equivalent() -> None:
    """At a true ratio on the margin, at most 5 in 100 experiments say equivalent."""
    rng, said = np.random.default_rng(11), 0
    for _ in range(300):
        ratios = rng.normal(math.log(1.05), 0.03, 6)
        samples = {"a": [[1.0]] * 6, "b": [[math.exp(x)] for x in ratios]}
        said += compare(samples, "a", draws=200)["b"].verdict is Verdict.EQUIVALENT
    assert said / 300 <= 0.08


def test_the_family_is_corrected() -> None:
    """Both kinds of p-values are those of statsmodels' Holm procedure."""
    ratios = np.random.default_rng(2).normal(0.02, 0.02, (3, 6))
    samples = {"a": [[1.0]] * 6} | {name: [[math.exp(x)] for x in own] for name, own in zip("bcd", ratios, strict=True)}
    found = {name: log_ratio(samples[name], samples["a"]) for name in "bcd"}
    analysis = compare(samples, "a")
    for kind in ("p_different", "p_equivalent"):
        expected = multipletests([getattr(one, kind) for one in found.values()], method="holm")[1]
        assert [getattr(analysis[name], kind) for name in "bcd"] == pytest.approx(list(expected))


def test_an_unknown_arm_is_named() -> None:
    """The error lists the arms there are."""
    with pytest.raises(MicroflowError, match=r"'sream'.*stream"):
        compare({"stream": [[1.0]] * 2}, "sream")
