"""Whole jobs beside what Polars takes to read and write the same file: commands in fresh processes, timed from outside.

Start-up, imports, workers and the last fsync are in it. Every round runs all commands in a fresh random order; a ratio
is the median over the rounds. Answers are checked first: workers and one process must give the same bytes. Spark, where
there is Java, is judged beyond its fixed cost: by what a large job takes longer than a small one.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microflow.anonymize.contract import Method
from microflow.anonymize.keys import KEY_VARIABLE
from microflow.bench.harness import Line
from microflow.datasets import generate
from microflow.errors import MicroflowError, SetupError
from microflow.jvm.java import find_java
from microflow.lab.statistics import bootstrap_interval
from microflow.sinks.writers import open_writer

__all__ = ["run"]

ROWS = 1_000_000
ROUNDS = 3
_METHODS = (Method.K_ANONYMITY, Method.DIFFERENTIAL_PRIVACY, Method.TOKENIZATION)
#: At most so many times what the reference takes.
_GOALS = {"csv": 3.0, "parquet": 3.5}
_DATABASE_GOAL, _SMALL_SECONDS, _SMALL_ROWS = 1.7, 0.8, 100
_SMALL, _OWN = f"{_SMALL_ROWS} rows", f"{Method.TOKENIZATION}, csv"
_SPARK, _SPARK_SMALL = "Spark, csv", f"Spark, {_SMALL_ROWS} rows"
#: Of the rate of our own workers.
_SPARK_GOAL = 0.6
_POLARS = "import sys, polars as pl; pl.read_{0}(sys.argv[1]).write_{0}(sys.argv[2])"


@dataclass(frozen=True)
class _Command:
    """A command that is timed; ``reference`` and ``goal`` as in a `Line`, but a ratio of seconds."""

    words: tuple[str, ...]
    reference: str | None = None
    goal: float | None = None


def run(rows: int | None = None) -> list[Line]:
    """Seconds of whole commands: three methods, CSV and Parquet, without and with the database, and a small file.

    Raises:
        MicroflowError: a command failed, or two schedulers gave different bytes.
    """
    with tempfile.TemporaryDirectory(prefix="microflow-bench-") as name:
        folder = Path(name)
        for suffix in _GOALS:
            _write(folder / f"large.{suffix}", rows or ROWS)
        _write(folder / "small.csv", _SMALL_ROWS)
        environment = os.environ | {KEY_VARIABLE: secrets.token_hex(32)}
        _check_answers(folder, environment)
        commands = _commands(folder)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        draw = np.random.default_rng(1)
        for _ in range(ROUNDS):
            for arm in draw.permutation(list(commands)):
                seconds[arm].append(_timed(commands[arm].words, environment))
        lines = [_line(name, command, seconds) for name, command in commands.items()]
        return [*lines, _beyond_fixed_cost(seconds)] if _SPARK in commands else lines


def _commands(folder: Path) -> dict[str, _Command]:
    commands = {}
    for suffix, goal in _GOALS.items():
        source, polars = str(folder / f"large.{suffix}"), f"Polars, {suffix}"
        target = str(folder / f"polars.{suffix}")
        commands[polars] = _Command((sys.executable, "-c", _POLARS.format(suffix), source, target))
        for method in _METHODS:
            words = _job(source, str(folder / f"released.{suffix}"), method)
            commands[f"{method}, {suffix}"] = _Command((*words, "--no-database"), polars, goal)
            if suffix == "csv":
                commands[f"{method}, {suffix}, database"] = _Command(words, f"{method}, {suffix}", _DATABASE_GOAL)
    small = _job(str(folder / "small.csv"), str(folder / "small.out.csv"), Method.TOKENIZATION)
    commands[_SMALL] = _Command((*small, "--no-database"))
    if _has_java():
        large = _job(str(folder / "large.csv"), str(folder / "spark.csv"), Method.TOKENIZATION)
        commands[_SPARK] = _Command((*large, "--no-database", "--engine", "spark"))
        commands[_SPARK_SMALL] = _Command((*small, "--no-database", "--engine", "spark"))
    return commands


def _has_java() -> bool:
    try:
        find_java()
    except SetupError:
        return False
    return True


def _job(source: str, target: str, method: Method, *more: str) -> tuple[str, ...]:
    words = (sys.executable, "-m", "microflow", "run", source, target, "--schema", "healthcare", "--overwrite")
    return (*words, "--method", method.value, *more)


def _timed(words: Sequence[str], environment: Mapping[str, str]) -> float:
    started = time.perf_counter_ns()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    taken = (time.perf_counter_ns() - started) / 1e9
    if done.returncode:
        raise MicroflowError("a command of the benchmark failed", hint=done.stderr.strip().rpartition("\n")[2])
    return taken


def _check_answers(folder: Path, environment: Mapping[str, str]) -> None:
    for method in (Method.K_ANONYMITY, Method.TOKENIZATION):
        answers = []
        for workers in ("1", "2"):
            target = folder / f"check.{workers}.csv"
            words = _job(str(folder / "large.csv"), str(target), method, "--no-database", "--workers", workers)
            _timed(words, environment)
            answers.append(target.read_bytes())
        if answers[0] != answers[1]:
            raise MicroflowError(f"one process and two workers release other bytes by {method}")


def _line(name: str, command: _Command, seconds: Mapping[str, Sequence[float]]) -> Line:
    own = np.asarray(seconds[name])
    value = float(np.median(own))
    if command.reference is None:
        goal = _SMALL_SECONDS if name == _SMALL else None
        low, high = bootstrap_interval(own)
        said = None if goal is None else f"≤ {goal:g} s"
        return Line(name, value, "s", None, None, low, high, said, None if goal is None else value <= goal)
    ratios = own / np.asarray(seconds[command.reference])
    low, high = bootstrap_interval(ratios)
    ratio = float(np.median(ratios))
    holds = None if command.goal is None else ratio <= command.goal
    return Line(name, value, "s", command.reference, ratio, low, high, f"≤ {command.goal:g} ×", holds)


def _beyond_fixed_cost(seconds: Mapping[str, Sequence[float]]) -> Line:
    taken = {name: np.asarray(values) for name, values in seconds.items()}
    ratios = (taken[_OWN] - taken[_SMALL]) / (taken[_SPARK] - taken[_SPARK_SMALL])
    low, high = bootstrap_interval(ratios)
    value, ratio = float(np.median(taken[_SPARK] - taken[_SPARK_SMALL])), float(np.median(ratios))
    name = "Spark, beyond its fixed cost"
    return Line(name, value, "s", _OWN, ratio, low, high, f"≥ {_SPARK_GOAL:g} ×", ratio >= _SPARK_GOAL)


def _write(path: Path, rows: int) -> None:
    batches = [batch.rows for batch in generate("healthcare", rows, seed=1)]
    with open_writer(path, batches[0].schema) as writer:
        for batch in batches:
            writer.write(batch)
