"""Measurement of a speed beside its reference: in one process, interleaved, over several rounds.

A `Case` returns how much it processed; the harness times it. Every round runs all cases in a fresh random order
(randomised complete blocks), so that a drift of the machine falls on all of them alike; a ratio is the median of the
rounds' paired ratios, its interval a bootstrap over the rounds (Kalibera and Jones 2013).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microflow.errors import MicroflowError
from microflow.figures.catalogue import marked
from microflow.lab.launch import Machine
from microflow.lab.report import Table, hardware, ratio_text, short
from microflow.lab.statistics import Estimate, Floats
from microflow.lab.trials import order_of

__all__ = [
    "Case", "Goal", "Line", "Samples", "bootstrap_interval", "compared", "document", "fixed", "hand_over",
    "in_one_thread", "interleaved", "measure", "peers_block", "render", "save", "skipped",
]  # fmt: skip


#: One value a round, by arm.
Samples = dict[str, Floats]
_RATE = "records/s"
#: From here on a value is printed without decimals.
_MANY = 1_000


@dataclass(frozen=True, slots=True)
class Case:
    """Work to time: ``work`` does it once and returns how many ``unit`` it processed.

    ``reference`` names another case of the same call. Where ``work`` is ``timed`` by itself, it returns the value.
    """

    name: str
    work: Callable[[], float]
    unit: str = _RATE
    reference: str | None = None
    goal: Goal | None = None
    timed: bool = False

    def value(self) -> float:
        """Do it once: how much is processed a second, or what the work itself has timed."""
        start = time.perf_counter_ns()
        done = self.work()
        return done if self.timed else done / (time.perf_counter_ns() - start) * 1e9


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of the value, or of its ratio to the reference."""

    bound: float
    at_least: bool = True
    of_ratio: bool = True

    def holds(self, value: float, ratio: float | None) -> bool | None:
        """True if the goal is reached; ``None`` if there is no ratio."""
        reached = ratio if self.of_ratio else value
        if reached is None:
            return None
        return reached >= self.bound if self.at_least else reached <= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """One result: the median rate, the ratio to the reference with its 95 % interval, and whether the goal holds.

    Without a ratio, ``low`` and ``high`` are the value's own interval.
    """

    name: str
    value: float
    unit: str
    reference: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    goal: str | None = None
    holds: bool | None = None


def interleaved(arms: Mapping[str, Callable[[], float]], rounds: int, *, warm_ups: int = 0, seed: int = 1) -> Samples:
    """Randomised complete blocks inside this process: every arm once a round; the first rounds are thrown away."""
    samples: dict[str, list[float]] = {name: [] for name in arms}
    for block in range(warm_ups + rounds):
        for name in order_of(list(arms), seed, block)[1]:
            value = arms[name]()
            if block >= warm_ups:
                samples[name].append(value)
    return {name: np.array(values) for name, values in samples.items()}


def measure(cases: Sequence[Case], *, rounds: int, warmups: int = 1) -> list[Line]:
    """Time all cases side by side, interleaved; one `Line` a case, in the order given."""
    samples = interleaved({case.name: case.value for case in cases}, rounds, warm_ups=warmups)
    return [compared(case.name, samples, case.reference, case.goal, case.unit) for case in cases]


def in_one_thread(module: str, rows: int) -> list[Line]:
    """Lines of ``python -m module rows``, run in a new process in which Polars has one thread.

    Raises:
        MicroflowError: it failed.
    """
    path = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", module, str(rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MicroflowError("the benchmark's process failed", hint=done.stderr.strip().rpartition("\n")[2])
    return [Line(**line) for line in json.loads(done.stdout)]


def hand_over(lines: Sequence[Line]) -> None:
    """The other end of `in_one_thread`: the lines as JSON, to the parent process."""
    sys.stdout.write(json.dumps([asdict(line) for line in lines]))


def compared(
    name: str, samples: Samples, reference: str | None = None, goal: Goal | None = None, unit: str = _RATE
) -> Line:
    """The median, beside its reference by paired ratios with their interval, and whether the goal holds."""
    own, ratio = samples[name], None
    value, reference = float(np.median(own)), None if reference == name else reference
    if reference is not None:
        own = own / samples[reference]
        ratio = float(np.median(own))
    low, high = bootstrap_interval(own) if len(own) > 1 else (None, None)
    if goal is None:
        return Line(name, value, unit, reference, ratio, low, high)
    said = f"{'≥' if goal.at_least else '≤'} {goal.bound:,g} {'×' if goal.of_ratio else unit}"
    return Line(name, value, unit, reference, ratio, low, high, said, goal.holds(value, ratio))


def bootstrap_interval(sample: Floats) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the sample's median."""
    from scipy.stats import bootstrap

    if len(sample) == 1:
        return float(sample[0]), float(sample[0])
    found = bootstrap((sample,), np.median, n_resamples=2_000, method="percentile", rng=np.random.default_rng(1))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def fixed(name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None) -> Line:
    """A line that is a measured quantity rather than a rate: an overhead, a score, a count."""
    if at_least is not None:
        return Line(name, value, unit, goal=f"≥ {at_least:g} {unit}", holds=value >= at_least)
    if at_most is not None:
        return Line(name, value, unit, goal=f"≤ {at_most:g} {unit}", holds=value <= at_most)
    return Line(name, value, unit)


def skipped(what: str, reason: str) -> Line:
    """A line without a value: what cannot be measured here, and why."""
    return Line(f"skipped: {what} ({reason})", math.nan, "")


def render(lines: Sequence[Line]) -> str:
    """The lines as a table for a terminal."""
    head = ["", "value", "ratio", "95 % interval", "beside", "goal", ""]
    return Table(head, [_cells(line) for line in lines], caption="").to_text().rstrip()


def _cells(line: Line) -> tuple[str, ...]:
    if math.isnan(line.value):
        return line.name, "", "", "", "", "", ""
    interval = "" if line.low is None or line.high is None else f"[{short(line.low)}, {short(line.high)}]"
    return (
        line.name,
        f"{line.value:,.0f} {line.unit}" if line.value >= _MANY else f"{line.value:,.3g} {line.unit}",
        "" if line.ratio is None else f"{line.ratio:.3g}×",
        interval,
        line.reference or "",
        line.goal or "",
        {True: "holds", False: "MISSED", None: ""}[line.holds],
    )


def document(lines: Sequence[Line]) -> dict[str, object]:
    """The lines, JSON-ready, beside the machine that they were measured on."""
    return {"machine": asdict(Machine.here()), "lines": [asdict(line) for line in lines if not math.isnan(line.value)]}


def save(lines: Sequence[Line], path: Path) -> None:
    """Write the `document` of the lines as JSON."""
    path.write_text(json.dumps(document(lines), indent=2, ensure_ascii=False) + "\n", "utf-8")


def peers_block(document: Mapping[str, Any]) -> str:
    """The block ``peers``, of a document that ``make peers`` has written: lines with a ratio."""
    rows = [
        [line["name"].strip(), f"{short(line['value'])} {line['unit']}", line["reference"], _ratio(line)]
        for line in document["lines"]
    ]
    origin = f"on {hardware(document['machine'])}; written by `make peers`"
    caption = f"Side by side in one process, ratios with 95 % intervals over rounds, {origin}."
    table = Table(["what", "here", "beside", "here / beside"], rows, caption, prose=True)
    return marked("peers", table.to_markdown())


def _ratio(line: Mapping[str, Any]) -> str:
    if line["low"] is None:
        return f"{short(line['ratio'])}×"  # nothing was timed: no interval to have
    return ratio_text(Estimate(float(line["ratio"]), float(line["low"]), float(line["high"])))
