"""What every engine is given and gives back; the engines differ in nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Anonymizer, MethodSettings
from microflow.compliance.findings import Findings
from microflow.compliance.policy import Policy
from microflow.microflows import Microflow
from microflow.schema import DatasetSchema
from microflow.settings import MICROFLOW_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["Engine", "Processed", "ProcessingSpec", "Processor"]


@dataclass(frozen=True)
class ProcessingSpec:
    """The work, independent of the engine: what the columns mean, what is forbidden, how to anonymize.

    ``key`` is secret material for tokenization; it is left out of ``repr`` and of everything stored.

    Raises:
        SchemaError: the role of some column is undecided.
    """

    schema: DatasetSchema
    policy: Policy
    method: MethodSettings
    microflow_rows: int = MICROFLOW_ROWS
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.schema.require_decided()


@dataclass(frozen=True, slots=True)
class Processed:
    """One microflow after the pure phase.

    ``released`` are the rows that may leave and ``ordinals`` (int64) name them; with a stream method they may belong to
    earlier microflows. ``suppressed`` (int64) names the rows that never will. ``findings`` are the violations of *this*
    microflow's input, counted before any remedy. ``pure_ns`` is its time, or its share by rows where several microflows
    were worked on together. Over a job: released + suppressed = rows of the source.
    """

    number: int
    first_row: int
    rows_in: int
    released: pa.RecordBatch
    ordinals: npt.NDArray[np.int64]
    suppressed: npt.NDArray[np.int64]
    findings: Findings
    pure_ns: int


class Engine:
    """Base of the engines: what comes out and what it guarantees is decided by the anonymizer alone."""

    _anonymizer: Anonymizer

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._anonymizer.output_schema

    def describe(self) -> dict[str, object]:
        """The method and what it guarantees, without any secret."""
        return self._anonymizer.describe()


class Processor(Protocol):
    """An engine. It reads microflows, keeps the clock, and yields results; it never writes and never prints."""

    pipeline_type: str

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every ``released`` batch."""
        ...

    def describe(self) -> dict[str, object]:
        """The method as this engine runs it (its scope may depend on the engine), JSON-ready, without any secret."""
        ...

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory, with ``clock.pure()`` around the pure phase only."""
        ...
