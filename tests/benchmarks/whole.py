"""``make bench SUITE=whole``: whole jobs beside the time in which Polars reads and writes the same file.

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
from functools import partial
from pathlib import Path

from benchmarks.harness import Case, Goal, Line, Samples, compared, interleaved
from microflow.anonymize.contract import Method
from microflow.anonymize.tokenization import KEY_VARIABLE
from microflow.errors import MicroflowError
from microflow.experiments.work import write_rows
from microflow.jvm import missing_java

__all__ = ["run"]

_ROWS, _ROUNDS = 1_000_000, 3
_DATA = {"data_type": "healthcare", "seed": 1}
_METHODS = (Method.K_ANONYMITY, Method.DIFFERENTIAL_PRIVACY, Method.TOKENIZATION)
#: At most so many times what the reference takes.
_GOALS = {"csv": 3.0, "parquet": 3.5}
_DATABASE_GOAL, _SMALL_GOAL = Goal(1.7, at_least=False), Goal(0.8, at_least=False, of_ratio=False)
_SMALL_ROWS = 100
_SMALL, _OWN = f"{_SMALL_ROWS} rows", f"{Method.TOKENIZATION}, csv"
_SPARK, _SPARK_SMALL = "Spark, csv", f"Spark, {_SMALL_ROWS} rows"
#: 0.6 of the rate of our own workers.
_SPARK_GOAL = Goal(1 / 0.6, at_least=False)
_POLARS = "import sys, polars as pl; pl.read_{0}(sys.argv[1]).write_{0}(sys.argv[2])"


def run(rows: int | None = None) -> list[Line]:
    """Seconds of whole commands: three methods, CSV and Parquet, without and with the database, and a small file.

    Raises:
        MicroflowError: a command failed, or two schedulers gave different bytes.
    """
    with tempfile.TemporaryDirectory(prefix="microflow-bench-") as name:
        folder = Path(name)
        for suffix in _GOALS:
            write_rows(folder / f"large.{suffix}", _DATA, rows or _ROWS)
        write_rows(folder / "small.csv", _DATA, _SMALL_ROWS)
        environment = os.environ | {KEY_VARIABLE: secrets.token_hex(32)}
        _check_answers(folder, environment)
        cases = _cases(folder, environment)
        seconds = interleaved({case.name: case.value for case in cases}, _ROUNDS)
    lines = [compared(case.name, seconds, case.reference, case.goal, case.unit) for case in cases]
    return [*lines, _beyond_fixed_cost(seconds)] if _SPARK in seconds else lines


def _cases(folder: Path, environment: Mapping[str, str]) -> list[Case]:
    def case(name: str, words: Sequence[str], reference: str | None = None, goal: Goal | None = None) -> Case:
        return Case(name, partial(_seconds, words, environment), "s", reference, goal, timed=True)

    cases = []
    for suffix, most in _GOALS.items():
        source, target, polars = str(folder / f"large.{suffix}"), str(folder / f"polars.{suffix}"), f"Polars, {suffix}"
        cases.append(case(polars, (sys.executable, "-c", _POLARS.format(suffix), source, target)))
        for method in _METHODS:
            words, name = _job(source, str(folder / f"released.{suffix}"), method), f"{method}, {suffix}"
            cases.append(case(name, (*words, "--no-database"), polars, Goal(most, at_least=False)))
            if suffix == "csv":
                cases.append(case(f"{name}, database", words, name, _DATABASE_GOAL))
    small = _job(str(folder / "small.csv"), str(folder / "small.out.csv"), Method.TOKENIZATION, "--no-database")
    cases.append(case(_SMALL, small, goal=_SMALL_GOAL))
    if not missing_java():
        large = _job(str(folder / "large.csv"), str(folder / "spark.csv"), Method.TOKENIZATION, "--no-database")
        cases += [case(name, (*words, "--engine", "spark")) for name, words in ((_SPARK, large), (_SPARK_SMALL, small))]
    return cases


def _job(source: str, target: str, method: Method, *more: str) -> tuple[str, ...]:
    words = (sys.executable, "-m", "microflow", "run", source, target, "--schema", "healthcare", "--overwrite")
    return (*words, "--method", method.value, *more)


def _seconds(words: Sequence[str], environment: Mapping[str, str]) -> float:
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
            _seconds(words, environment)
            answers.append(target.read_bytes())
        if answers[0] != answers[1]:
            raise MicroflowError(f"one process and two workers release other bytes by {method}")


def _beyond_fixed_cost(seconds: Samples) -> Line:
    """Spark by what a large job takes longer than a small one, beside our own workers' same difference."""
    name, own = "Spark, beyond its fixed cost", f"{_OWN}, beyond its fixed cost"
    beyond = {name: seconds[_SPARK] - seconds[_SPARK_SMALL], own: seconds[_OWN] - seconds[_SMALL]}
    return compared(name, beyond, own, _SPARK_GOAL, "s")
