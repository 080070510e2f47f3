"""From a file to a recommendation: sample it, race the settings, time whole jobs, compare architectures."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from microflow.advise.architecture import ArchitectureLatency, compare_architectures
from microflow.advise.capacity import Capacity, Observed, fit
from microflow.advise.recommend import Goals, Recommendation
from microflow.advise.search import Candidate, Constraints, search
from microflow.advise.trial import FileSample, sample_rows
from microflow.compliance import load_policy
from microflow.compliance.policy import Policy
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec
from microflow.errors import KeyMaterialError, SchemaError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.sinks.writers import open_writer
from microflow.sources import Quarantine, read_microflows

__all__ = ["advise", "read_sample"]


def read_sample(file: Path, schema_name: str) -> FileSample:
    """Sample a file of any format in one pass.

    Raises:
        SchemaError: no quasi-identifier is described, so that no attack is defined.
        InputError: the file cannot be read, or has no usable row.
    """
    schema = load_schema(schema_name)
    if not schema.quasi_identifiers:
        raise SchemaError(
            "no column has the role quasi_identifier, so risk cannot be measured",
            path=schema_name,
            hint="say which columns an attacker may know; `microflow describe FILE` ranks them",
        )
    with Quarantine() as quarantine:
        return sample_rows((flow.rows for flow in read_microflows(file, schema, quarantine=quarantine)), schema)


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
    found = search(sample, rules, constraints, rows=rows, progress=lambda _done, _all: progress(1))
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
    """Time whole jobs of the advised setting on two samples; ``None`` where the sample is too small to tell."""
    sizes = [size for size in (sample.rows.num_rows // 5, sample.rows.num_rows) if size >= 1_000]  # noqa: PLR2004
    if len(sizes) < 2:  # noqa: PLR2004
        return None
    observed = []
    with TemporaryDirectory(prefix="microflow-advise-") as folder:
        for size in sizes:
            source = Path(folder) / f"sample-{size}{''.join(file.suffixes)}"
            _write(source, sample.first(size))
            try:
                observed.append(_timed(source, schema, policy, advised, size))
            except KeyMaterialError:
                return None  # tokens need a key, and advice does not
    return fit(observed)


def _write(path: Path, rows: pa.RecordBatch) -> None:
    with open_writer(path, rows.schema, escape_formulas=False) as writer:
        writer.write(rows)


def _timed(source: Path, schema: str, policy: str | None, advised: Candidate, rows: int) -> Observed:
    job = JobSpec(source, source.with_name(f"out-{source.name}"), schema, advised.settings, policy=policy)
    started = time.perf_counter()
    PipelineOrchestrator(None).run(job)
    return Observed(rows, 1, time.perf_counter() - started)
