"""Work that trials of several experiments share: generated data, and one pass over them with the clock.

Every trial generates its own data, so that it reads no file, and tokens get a key that anybody can compute from the
seed: the arms of a block must release equal rows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec, build_processor
from microflow.lab.trials import Arm
from microflow.records import Microflow, microflows
from microflow.sinks.writers import open_writer
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

__all__ = [
    "PASS", "TOKENS", "DataChecksum", "arms_by_type", "data_checksum", "row_digest", "seconds_of_passes", "shared_data",
    "source", "spec_of", "throughput", "volume", "write_rows",
]  # fmt: skip

TOKENS = {"method": "tokenization"}
#: What a pass's result has that speed has no part in: its answers, and whether it is shown to be pure.
PASS = ("pure", "violations", "output_checksum", "data_checksum")


def source(config: Mapping[str, Any], rows: int) -> Iterator[Microflow]:
    """The first ``rows`` rows of a configuration's ``data_type``; its ``seed`` decides them."""
    return microflows(batch.rows for batch in generate(config["data_type"], rows, config["seed"]))


def shared_data(variable: str, name: str) -> Path:
    """Data that are not ours to give away: where a variable of the environment says, or beside the project."""
    return Path(os.environ.get(variable, Path(__file__).resolve().parents[4] / "shared" / "data" / name))


class DataChecksum:
    """SHA-256 over every value of the microflows that are added or pass through, column by column."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, rows: pa.RecordBatch) -> None:
        """The rows of one microflow; in other pieces the same rows have another checksum."""
        for column in rows.columns:
            self._digest.update(pl.Series(column).hash(seed=1).to_numpy().tobytes())

    def passing(self, flows: Iterable[Microflow]) -> Iterator[Microflow]:
        """The microflows as they are, each added as it is taken."""
        for flow in flows:
            self.add(flow.rows)
            yield flow

    def hexdigest(self) -> str:
        """The checksum of what has been added."""
        return self._digest.hexdigest()


def data_checksum(flows: Iterable[Microflow]) -> str:
    """The checksum of all of them."""
    checksum = DataChecksum()
    for _ in checksum.passing(flows):
        pass
    return checksum.hexdigest()


def write_rows(path: Path, config: Mapping[str, Any], rows: int) -> str:
    """Write the rows of `source` to a file, in the format of its suffix; returns their checksum."""
    checksum = DataChecksum()
    with open_writer(path, load_schema(config["data_type"]).arrow) as writer:
        for flow in checksum.passing(source(config, rows)):
            writer.write(flow.rows)
    return checksum.hexdigest()


def row_digest(released: pa.RecordBatch, ordinals: npt.NDArray[np.int64]) -> int:
    """A number that changes with any value, name or ordinal, and not with the order in which rows are released."""
    frame = pl.DataFrame(pl.from_arrow(released)).with_columns(_ordinal=pl.Series(ordinals))
    return int(frame.hash_rows(seed=1).sum()) if frame.height else 0


def spec_of(config: Mapping[str, Any]) -> ProcessingSpec:
    """The work of a configuration: ``data_type``, ``method`` (fields of `MethodSettings`) and ``seed``."""
    schema = load_schema(config["data_type"])
    named = config["method"]
    method = MethodSettings(**{**named, "method": Method(named["method"]), "seed": config["seed"]})
    # SHA-512 of a fixed text: 512 bits, of which shorter keys take the first.
    key = hashlib.sha512(f"microflow experiment {config['seed']}".encode()).digest()[: method.key_bits // 8]
    return ProcessingSpec(schema, load_policy(schema.policy), method, key=key)


def arms_by_type(data_types: Sequence[str], target: str, named: Mapping[str, Mapping[str, object]]) -> tuple[Arm, ...]:
    """Every named configuration on every data type: arms ``data type: name``."""
    return tuple(
        Arm(f"{data_type}: {name}", target, {**config, "data_type": data_type})
        for data_type in data_types
        for name, config in named.items()
    )


def throughput(config: Mapping[str, Any]) -> dict[str, Any]:
    """``passes`` passes over the same ``rows`` rows in memory, on ``pipeline`` and ``engine``.

    Records are rows of Arrow before and after; where an engine works on mappings, the conversion is outside the clock.

    Returns:
        ``samples``: pure nanoseconds per record, one value a pass; on several workers, of the busiest one.
        ``pure``: whether every pass is shown to have touched memory only; ``evidence``: what the guard saw in each,
        of unrelated threads too, which ``pure`` leaves out. ``violations``, and checksums: of the output only where
        ``released_alike`` says that all arms must release the same rows.
    """
    spec, flows = spec_of(config), list(source(config, config["rows"]))
    samples, digest, violations, evidence = [], 0, 0, []
    for _ in range(config["passes"]):
        processor = build_processor(spec, config["pipeline"])
        guard = PurityGuard()
        clock = PhaseClock(guard)
        digest = violations = 0
        for done in processor.process(flows, clock):
            with clock.pause():
                digest ^= row_digest(done.released, done.ordinals)
                violations += len(done.findings)
        report = clock.report()
        samples.append((report.pure_ns - report.overlap_ns) / config["rows"])
        evidence.append(guard.evidence)
    return {
        "samples": samples,
        "pure": all(item.is_pure and item.spans > 0 for item in evidence),
        "evidence": [asdict(item) for item in evidence],
        "violations": violations,
        "data_checksum": data_checksum(flows),
        "output_checksum": f"{digest:016x}" if config["released_alike"] else None,
    }


def seconds_of_passes(config: Mapping[str, Any]) -> float:
    """About what a trial of `throughput` takes: rows are generated once, a processor is built for each pass."""
    stream = 1e-4 if config["method"]["method"] == Method.K_ANONYMITY else 2e-5
    per_record = stream if config["pipeline"] == "stream" else 5e-6
    hybrid = 0.7 if config["pipeline"] == "hybrid" else 0.0
    rows, passes = float(config["rows"]), float(config["passes"])
    return 0.2 + hybrid + rows * 1.5e-5 + passes * (0.2 + rows * per_record)


def volume(config: Mapping[str, Any]) -> dict[str, Any]:
    """One pass over ``rows`` rows that are generated as they are read, so that memory shows what the engine holds.

    Returns:
        ``samples``: pure seconds, one value. ``evidence``: what the guard saw. ``data_checksum``: of the input, taken
        as it is read. The process's peak memory is in the trial's usage.
    """
    guard, checksum, rows = PurityGuard(), DataChecksum(), 0
    clock = PhaseClock(guard)
    flows = checksum.passing(source(config, config["rows"]))
    for done in build_processor(spec_of(config), config["pipeline"]).process(flows, clock):
        rows += done.rows_in
    report = clock.report()
    return {
        "samples": [(report.pure_ns - report.overlap_ns) / 1e9],
        "rows_processed": rows,
        "evidence": [asdict(guard.evidence)],
        "data_checksum": checksum.hexdigest(),
    }
