"""Paired ratios and goals of measurements that are not rates of a closed loop."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest

import benchmarks
from benchmarks.harness import Goal, Line, bootstrap_interval, compared, document, interleaved, render, skipped


def test_every_arm_runs_once_a_round_in_changing_order() -> None:
    """Randomised complete blocks: complete, and not always in the order given."""
    ran: list[str] = []
    arms = {name: lambda name=name: ran.append(name) or 1.0 for name in "abcd"}
    samples = interleaved(arms, rounds=6)
    blocks = [tuple(ran[i : i + 4]) for i in range(0, 24, 4)]
    assert all(sorted(block) == list("abcd") for block in blocks)
    assert len(set(blocks)) > 1
    assert all(len(values) == 6 for values in samples.values())


def test_a_ratio_is_paired() -> None:
    """A drift that falls on both arms alike leaves their ratio as it is."""
    drift = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    line = compared("ours", {"ours": 2 * drift, "theirs": drift}, "theirs", Goal(1.5))
    assert (line.ratio, line.low, line.high, line.holds) == (2.0, 2.0, 2.0, True)


@pytest.mark.parametrize(
    ("goal", "holds", "said"),
    [
        (Goal(2.0), True, "≥ 2 ×"),
        (Goal(2.1), False, "≥ 2.1 ×"),
        (Goal(2.0, at_least=False), True, "≤ 2 ×"),
        (Goal(1.9, at_least=False), False, "≤ 1.9 ×"),
        (Goal(5, of_ratio=False), False, "≥ 5 µs"),
        (Goal(5, at_least=False, of_ratio=False), True, "≤ 5 µs"),
    ],
)
def test_a_goal_says_what_it_asks_and_whether_it_holds(goal: Goal, holds: bool, said: str) -> None:
    """Bounds of a value or of a ratio, from below or above; the bound itself is reached."""
    line = compared("ours", {"ours": np.array([4.0]), "theirs": np.array([2.0])}, "theirs", goal, "µs")
    assert (line.holds, line.goal) == (holds, said)


def test_an_arm_has_no_ratio_to_itself() -> None:
    """And then a goal of the ratio is neither reached nor missed."""
    line = compared("ours", {"ours": np.array([4.0])}, "ours", Goal(1.0))
    assert (line.ratio, line.holds) == (None, None)


def test_what_cannot_be_measured_is_named_and_is_no_number() -> None:
    """The table says what and why; the document, which others draw from, leaves it out."""
    lines = [Line("ours", 2e6, "records/s"), skipped("loss on Adult", "MICROFLOW_ADULT names its file")]
    assert "skipped: loss on Adult (MICROFLOW_ADULT names its file)" in render(lines)
    assert "nan" not in render(lines)
    assert [line["name"] for line in document(lines)["lines"]] == ["ours"]


def test_peers_are_the_lines_that_stand_beside_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three suites; every suite on the command line is a module with `run`."""
    for name in benchmarks.SUITES:
        if name != "peers":
            assert callable(import_module(f"benchmarks.{name}").run)
    asked: list[str] = []

    def run(name: str, rows: int | None) -> list[Line]:
        asked.append(f"{name} {rows}")
        return [Line(name, 1.0, "s"), Line(f"{name} beside", 1.0, "s", "theirs", 2.0)]

    for name in ("compliance", "anonymize", "store"):
        monkeypatch.setattr(f"benchmarks.{name}.run", partial(run, name))
    found = [line.name for line in benchmarks.measured("peers", 7)]
    assert found == ["compliance beside", "anonymize beside", "store beside"]
    assert asked == ["compliance 7", "anonymize 7", "store 7"]


def test_bootstrap_interval_holds_the_median() -> None:
    """The harness's interval surrounds the median it belongs to, and narrows with more rounds."""
    rng = np.random.default_rng(1)
    few, many = rng.normal(5, 1, 10), rng.normal(5, 1, 1_000)
    low, high = bootstrap_interval(few)
    assert low <= np.median(few) <= high
    narrow = bootstrap_interval(many)
    assert narrow[1] - narrow[0] < high - low
