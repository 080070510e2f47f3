"""One answer for one file: which setting, on which architecture, for how long, and what would change the choice."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from microflow.advise.capacity import (
    ArchitectureLatency,
    Capacity,
    Observed,
    Prediction,
    compare_architectures,
    fit,
    preferred,
)
from microflow.advise.sample import FileSample, Trials, command_options, read_sample, setting_name
from microflow.advise.search import Candidate, Constraints, Search, search
from microflow.compliance import load_policy
from microflow.compliance.policy import Policy
from microflow.engine import ProcessingSpec
from microflow.errors import KeyMaterialError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.sinks.writers import open_writer

__all__ = ["Goals", "Recommendation", "advise"]

#: Rows of the largest job that is timed.
_TIMED_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Goals:
    """What a person asks for besides risk and utility.

    Attributes:
        latency_ms: 99 of 100 records must be done within so many milliseconds of their arrival.
        deadline_s: The whole file must be done within so many seconds.
        rate: Records/s that arrive; ``None`` for a file that is there as a whole.
        workers: Cores or executors to predict the job for.
    """

    latency_ms: float | None = None
    deadline_s: float | None = None
    rate: float | None = None
    workers: tuple[int, ...] = (1, 2, 4, 8)


@dataclass(frozen=True)
class Recommendation:
    """The answer, with everything that it rests on.

    Attributes:
        source: The file as it was named.
        schema: The descriptor as it was named.
        sampled: Rows that settings were tried on.
        search: Risk and loss of all candidates.
        goals: What else was asked for.
        capacity: The law of a whole job's time, where it was measured.
        architectures: Latency at ``goals.rate``, where one was given.
        output: Where the advised command writes to.
    """

    source: str
    schema: str
    sampled: int
    search: Search
    goals: Goals
    capacity: Capacity | None = None
    architectures: Sequence[ArchitectureLatency] = field(default_factory=tuple)
    output: str = "released.csv"

    @property
    def advised(self) -> Candidate | None:
        """The setting that keeps most information within the constraints."""
        return self.search.advised

    @property
    def pipeline(self) -> str | None:
        """The architecture that meets the latency at the rate; ``batch`` for a file; ``None`` where none does."""
        if self.goals.rate is None:
            return "batch"
        chosen = preferred(self.architectures, self.goals.latency_ms)
        return None if chosen is None else chosen.pipeline

    def job_time(self, workers: int) -> Prediction | None:
        """The whole job at full size on so many workers."""
        return None if self.capacity is None else self.capacity.seconds(self.search.rows, workers)

    @property
    def workers_for_deadline(self) -> int | None:
        """The fewest of ``goals.workers`` with which the job is done in time by the interval's upper end."""
        if self.goals.deadline_s is None or self.capacity is None:
            return None
        able = [
            n for n in self.goals.workers if self.capacity.seconds(self.search.rows, n).high <= self.goals.deadline_s
        ]
        return min(able, default=None)

    @property
    def is_met(self) -> bool:
        """Whether one setting on one architecture meets everything that was asked for."""
        in_time = self.goals.deadline_s is None or self.capacity is None or self.workers_for_deadline is not None
        return self.advised is not None and self.pipeline is not None and in_time

    @property
    def command(self) -> str | None:
        """The command line to paste."""
        if self.advised is None or self.pipeline is None:
            return None
        options = command_options(self.advised.settings)
        source, schema, output = map(shlex.quote, (self.source, self.schema, self.output))
        if self.goals.rate is not None and self.pipeline != "batch":
            return f"microflow stream SOURCE SINK --schema {schema} {options} --pipeline {self.pipeline}"
        workers = self.workers_for_deadline
        return f"microflow run {source} {output} --schema {schema} {options}" + (
            f" --workers {workers}" if workers else ""
        )

    def reasons(self) -> list[str]:
        """Why this one, what nearly won, and what would change the choice; or which constraint to give up."""
        if self.advised is None:
            return [*self._concessions(), *self._refused()]
        said = [self._why(self.advised)]
        runners_up = [candidate for candidate in self.search.feasible if candidate is not self.advised]
        if runners_up:
            said.append(f"Nearly won: {_described(runners_up[0])}.")
        if (milder := self._milder()) is not None:
            allowed = _rounded_up(milder.needs)
            said.append(
                f"With --max-risk {allowed:g} the choice would be {setting_name(milder.settings)}, "
                f"which keeps {milder.utility:.1%} of the information."
            )
        if self.pipeline is None:
            said.append(self._latency_concession())
        if self.goals.deadline_s is not None and self.workers_for_deadline is None and self.capacity is not None:
            most = max(self.goals.workers)
            least = self.capacity.seconds(self.search.rows, most)
            said.append(
                f"The deadline of {self.goals.deadline_s:,.0f} s is not met with up to {most} workers: "
                f"allow {least.high:,.0f} s."
            )
        return [*said, *self._refused()]

    def _refused(self) -> list[str]:
        """Methods that cannot be used on this file, and why."""
        methods = {setting.method: why for setting, why in self.search.refused.items()}
        return [f"Not tried: {method.replace('_', ' ')}, for {why}." for method, why in methods.items()]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; no value of a record is in it."""
        advised = self.advised
        return {
            "source": self.source,
            "schema": self.schema,
            "rows": self.search.rows,
            "sampled": self.sampled,
            "constraints": {**asdict(self.search.constraints), **asdict(self.goals)},
            "advised": None if advised is None else setting_name(advised.settings),
            "pipeline": self.pipeline,
            "command": self.command,
            "is_met": self.is_met,
            "reasons": self.reasons(),
            "candidates": [_row(candidate, self.search.constraints) for candidate in self.search.candidates],
            "refused": {setting_name(setting): why for setting, why in self.search.refused.items()},
            "frontier": [setting_name(candidate.settings) for candidate in self.search.frontier],
            "job_seconds": {n: asdict(time) for n in self.goals.workers if (time := self.job_time(n)) is not None},
            "architectures": [asdict(architecture) for architecture in self.architectures],
        }

    def _why(self, advised: Candidate) -> str:
        limits = self.search.constraints
        size = f"{self.search.rows:,} rows"
        how = "predicted for" if advised.risk.is_extrapolated else "measured on"
        return (
            f"{setting_name(advised.settings)} keeps most ({advised.utility:.1%} of the information) among the "
            f"settings whose risk stays within {limits.max_risk:g}: {advised.risk}, {how} {size}."
        )

    def _milder(self) -> Candidate | None:
        """The candidate with the least risk among those that keep more than the advised one."""
        assert self.advised is not None
        better = [candidate for candidate in self.search.frontier if candidate.utility > self.advised.utility]
        return min(better, key=lambda candidate: candidate.needs, default=None)

    def _concessions(self) -> list[str]:
        """By how much each constraint would have to give way alone."""
        limits, said = self.search.constraints, ["No setting meets both constraints."]
        useful = [candidate for candidate in self.search.candidates if 1 - candidate.loss.high >= limits.min_utility]
        if useful:
            safest = min(useful, key=lambda candidate: candidate.needs)
            said.append(
                f"Give up on risk: --max-risk {_rounded_up(safest.needs):g} instead of {limits.max_risk:g} allows "
                f"{setting_name(safest.settings)}."
            )
        safe = [candidate for candidate in self.search.candidates if candidate.needs <= limits.max_risk]
        if safe:
            most = max(safe, key=lambda candidate: 1 - candidate.loss.high)
            kept = int((1 - most.loss.high) * 1000) / 1000
            said.append(
                f"Give up on utility: --min-utility {kept:g} instead of {limits.min_utility:g} allows "
                f"{setting_name(most.settings)}."
            )
        else:
            least = min(candidate.needs for candidate in self.search.candidates)
            said.append(f"No setting's risk is known to be below {least:.3f}: that is as far as the attacks resolve.")
        return said

    def _latency_concession(self) -> str:
        able = [architecture for architecture in self.architectures if architecture.is_sustained]
        if not able:
            return f"No architecture keeps up with {self.goals.rate:,.0f} records/s on one core: share it among more."
        best = min(able, key=lambda architecture: architecture.p99_ms)
        return (
            f"No architecture is within {self.goals.latency_ms:g} ms at {self.goals.rate:,.0f} records/s: "
            f"{best.pipeline} needs {best.p99_ms:.3g} ms."
        )


def _row(candidate: Candidate, constraints: Constraints) -> dict[str, Any]:
    return {
        "setting": setting_name(candidate.settings),
        "options": command_options(candidate.settings),
        "risk": asdict(candidate.risk),
        "loss": asdict(candidate.loss),
        "records_per_second": candidate.rate,
        "max_risk_needed": candidate.needs,
        "tried_on_rows": candidate.trials[-1].rows,
        "meets": candidate.meets(constraints),
    }


def _described(candidate: Candidate) -> str:
    return f"{setting_name(candidate.settings)} (risk {candidate.risk}, keeps {candidate.utility:.1%})"


def _rounded_up(share: float) -> float:
    """The least limit of three decimals that a share is within."""
    return min(int(share * 1000 + 1) / 1000, 1.0)


def advise(
    file: Path,
    schema_name: str,
    constraints: Constraints,
    goals: Goals,
    *,
    policy: str | None = None,
    rows: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Recommendation:
    """Recommend a setting for ``file``.

    Args:
        file: CSV, Parquet or JSON Lines.
        schema_name: A shipped descriptor or the path of one.
        constraints: What the release must meet.
        goals: Latency, deadline and rate.
        policy: The rules; by default the descriptor's.
        rows: Predict for so many rows; by default those of the file.
        progress: Called with 1 for each trial done.
    """
    sample = read_sample(file, schema_name)
    rules = load_policy(policy or sample.schema.policy)
    found = search(Trials(sample, rules), constraints, rows=rows, progress=lambda _done, _all: progress(1))
    advised = found.advised
    law: Capacity | None = None
    architectures: tuple[ArchitectureLatency, ...] = ()
    if advised is not None:
        law = _capacity(file, schema_name, policy, sample, advised)
        if goals.rate is not None:
            architectures = tuple(
                compare_architectures(_spec(sample, rules, advised), sample.first(24_000), goals.rate)
            )
    return Recommendation(
        str(file), schema_name, sample.rows.num_rows, found, goals, law, architectures,
        output=f"{file.name.split('.')[0]}.released{''.join(file.suffixes)}",
    )  # fmt: skip


def _spec(sample: FileSample, policy: Policy, advised: Candidate) -> ProcessingSpec:
    key = secrets.token_bytes(advised.settings.key_bits // 8)
    return ProcessingSpec(sample.schema, policy, advised.settings, key=key)


def _capacity(file: Path, schema: str, policy: str | None, sample: FileSample, advised: Candidate) -> Capacity | None:
    """Time whole jobs of the advised setting on few and on many rows, on one worker and, where there are cores, two.

    ``None`` where the sample is too small to tell.
    """
    most = min(sample.rows.num_rows, _TIMED_ROWS)
    few, pair = most // 5, [2] * ((os.cpu_count() or 1) > 1)
    if few < 1_000:  # noqa: PLR2004 - a start would hide what a row costs
        return None
    observed = []
    with TemporaryDirectory(prefix="microflow-advise-") as folder:
        for rows, workers in [(few, 1), *((most, count) for count in (1, *pair))]:
            source = Path(folder) / f"sample-{rows}{''.join(file.suffixes)}"
            if not source.exists():
                with open_writer(source, sample.rows.schema, escape_formulas=False) as writer:
                    writer.write(sample.first(rows))
            output = source.with_name(f"out-{workers}-{source.name}")
            job = JobSpec(source, output, schema, advised.settings, policy=policy, workers=workers)
            started = time.perf_counter()
            try:
                PipelineOrchestrator(None).run(job)
            except KeyMaterialError:
                return None  # tokens need a key, and advice does not
            observed.append(Observed(rows, workers, time.perf_counter() - started))
    return fit(observed)
