"""Recommendation for a file: the setting, the architecture, the duration, and what would change the choice."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from microflow.advise.descriptor_text import schema_as_yaml
from microflow.advise.sample import FileSample, Trials, command_options, read_sample, setting_name
from microflow.advise.search import Candidate, Constraints, Search, search
from microflow.compliance import load_policy
from microflow.engine import ProcessingSpec
from microflow.errors import KeyMaterialError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.schema import DatasetSchema, SourceFormat
from microflow.sinks.writers import open_writer
from microflow.sources.files import files_of, input_format

__all__ = ["Goals", "Recommendation", "advise"]

#: Rows of the largest job that is timed.
_TIMED_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Goals:
    """Requirements besides risk and utility.

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
    """The answer, with everything that it rests on: candidates tried on ``sampled`` rows, and what else was asked for.

    ``source``, ``schema`` and ``policy`` are as they were named, ``output`` is where the advised command writes to.
    ``capacity`` is known where jobs could be timed, and ``untimed`` says why they could not; ``architectures`` are
    compared where a rate was given.
    """

    source: str
    schema: str
    sampled: int
    search: Search
    goals: Goals
    capacity: Capacity | None = None
    untimed: str = ""
    architectures: Sequence[ArchitectureLatency] = ()
    policy: str | None = None
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
        limit, times = self.goals.deadline_s, {n: self.job_time(n) for n in self.goals.workers}
        return min((n for n, time in times.items() if limit and time and time.high <= limit), default=None)

    @property
    def is_late(self) -> bool:
        """True if there is a deadline that no number of workers is known to meet."""
        return self.goals.deadline_s is not None and self.workers_for_deadline is None

    @property
    def is_met(self) -> bool:
        """True if one setting on one architecture meets all requirements."""
        return self.advised is not None and self.pipeline is not None and not self.is_late

    @property
    def command(self) -> str | None:
        """Command line that runs the advised setting."""
        if self.advised is None or self.pipeline is None:
            return None
        source, schema, output = map(shlex.quote, (self.source, self.schema, self.output))
        options = command_options(self.advised.settings)
        if self.policy is not None:
            options = f"--policy {shlex.quote(self.policy)} {options}"
        if self.goals.rate is not None and self.pipeline != "batch":
            return f"microflow stream SOURCE SINK --schema {schema} {options} --pipeline {self.pipeline}"
        workers = f" --workers {self.workers_for_deadline}" if self.workers_for_deadline else ""
        return f"microflow run {source} {output} --schema {schema} {options}{workers}"

    def reasons(self) -> list[str]:
        """Reasons for the advice, the second-best setting, and the limits that would change the advice."""
        refused = {setting.method.replace("_", " "): why for setting, why in self.search.refused.items()}
        said = list(self._concessions() if self.advised is None else self._why(self.advised))
        return said + [f"Not tried: {method}, for {why}." for method, why in refused.items()]

    def _why(self, advised: Candidate) -> Iterator[str]:
        how = "predicted for" if advised.risk.is_extrapolated else "measured on"
        yield (
            f"{setting_name(advised.settings)} keeps most ({advised.utility:.1%} of the information) among the "
            f"settings whose risk stays within {self.search.constraints.max_risk:g}: {advised.risk}, "
            f"{how} {self.search.rows:,} rows."
        )
        second = next((candidate for candidate in self.search.feasible if candidate is not advised), None)
        if second is not None:
            yield f"Second best: {setting_name(second.settings)} (risk {second.risk}, keeps {second.utility:.1%})."
        better = [candidate for candidate in self.search.frontier if candidate.utility > advised.utility]
        if better:
            milder = min(better, key=lambda candidate: candidate.needs)
            yield (
                f"With --max-risk {_rounded_up(milder.needs):g} the choice would be {setting_name(milder.settings)}, "
                f"which keeps {milder.utility:.1%} of the information."
            )
        if self.pipeline is None:
            yield self._latency_concession()
        if self.is_late and self.untimed:
            yield f"The deadline was not checked: {self.untimed}."
        most = max(self.goals.workers)
        if self.is_late and (least := self.job_time(most)) is not None:
            yield (
                f"The deadline of {self.goals.deadline_s:,.0f} s is not met with up to {most} workers: "
                f"allow {least.high:,.0f} s."
            )

    def _concessions(self) -> Iterator[str]:
        """By how much each constraint would have to give way alone."""
        limits = self.search.constraints
        yield "No setting meets both constraints."
        useful = [candidate for candidate in self.search.candidates if 1 - candidate.loss.high >= limits.min_utility]
        if useful:
            safest = min(useful, key=lambda candidate: candidate.needs)
            yield (
                f"Give up on risk: --max-risk {_rounded_up(safest.needs):g} instead of {limits.max_risk:g} allows "
                f"{setting_name(safest.settings)}."
            )
        safe = [candidate for candidate in self.search.candidates if candidate.needs <= limits.max_risk]
        if safe:
            most = min(safe, key=lambda candidate: candidate.loss.high)
            kept = int((1 - most.loss.high) * 1000) / 1000
            yield (
                f"Give up on utility: --min-utility {kept:g} instead of {limits.min_utility:g} allows "
                f"{setting_name(most.settings)}."
            )
        else:
            least = min(candidate.needs for candidate in self.search.candidates)
            yield f"No setting's risk is known to be below {least:.3f}: that is as far as the attacks resolve."

    def _latency_concession(self) -> str:
        best = preferred(self.architectures, None)
        if best is None:
            return f"No architecture keeps up with {self.goals.rate:,.0f} records/s on one core: share it among more."
        return (
            f"No architecture is within {self.goals.latency_ms:g} ms at {self.goals.rate:,.0f} records/s: "
            f"{best.pipeline} needs {best.p99_ms:.3g} ms."
        )

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
    advised, architectures = found.advised, list[ArchitectureLatency]()
    law, untimed = (None, "no setting is advised") if advised is None else _capacity(file, policy, sample, advised)
    if advised is not None and goals.rate is not None:
        key = secrets.token_bytes(advised.settings.key_bits // 8)
        spec = ProcessingSpec(sample.schema, rules, advised.settings, key=key)
        architectures = compare_architectures(spec, sample.first(24_000), goals.rate)
    return Recommendation(
        str(file), schema_name, sample.rows.num_rows, found, goals, law, untimed, architectures, policy,
        output=f"{_bare(file)}.released.{_format(file)}",
    )  # fmt: skip


def _format(file: Path) -> str:
    """The format of a file, or of the first of several, as a suffix that can be written."""
    return input_format(files_of(file)[0])


def _bare(file: Path) -> str:
    """The name of a file without its suffixes, and without what makes it a pattern."""
    return re.sub(r"[*?\[\]]", "", file.name.split(".")[0]).strip("-_") or "file"


def _plain(schema: DatasetSchema) -> DatasetSchema:
    """The schema of a copy that we write: our own delimiter, and values as they are without a format."""
    columns = tuple(replace(column, format=None) for column in schema.columns)
    return replace(schema, source=SourceFormat(), columns=columns)


def _capacity(file: Path, policy: str | None, sample: FileSample, advised: Candidate) -> tuple[Capacity | None, str]:
    """Time whole jobs of the advised setting on few and on many rows, on one worker and, where there are cores, two.

    Returns:
        The law, or ``None`` and why it is not known.
    """
    most = min(sample.rows.num_rows, _TIMED_ROWS)
    few, pair = most // 5, [2] * ((os.cpu_count() or 1) > 1)
    if few < 1_000:  # noqa: PLR2004 - a start would hide what a row costs
        return None, f"{most:,} rows are too few to time a job on"
    observed, suffix = [], _format(file)
    with TemporaryDirectory(prefix="microflow-advise-") as folder:
        described = Path(folder) / "sample.yaml"
        described.write_text(schema_as_yaml(_plain(sample.schema)), "utf-8")
        for rows, workers in [(few, 1), *((most, count) for count in (1, *pair))]:
            source = Path(folder) / f"sample-{rows}.{suffix}"
            if not source.exists():
                with open_writer(source, sample.rows.schema, escape_formulas=False) as writer:
                    writer.write(sample.first(rows))
            output = source.with_name(f"out-{workers}-{source.name}")
            job = JobSpec(source, output, str(described), advised.settings, policy=policy, workers=workers)
            started = time.perf_counter()
            try:
                PipelineOrchestrator(None).run(job)
            except KeyMaterialError:
                return None, "tokens need a key, which advice does not"
            observed.append(Observed(rows, workers, time.perf_counter() - started))
    return fit(observed, least_parallel=1 / advised.rate), ""
