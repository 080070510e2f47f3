"""Batch processing in this process: microflow after microflow on one core."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Scope
from microflow.compliance import Findings
from microflow.microflows import Microflow
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.kernel import BatchKernel, Place, Screened, Screening, missing, processed
from microflow.timing.clock import PhaseClock

__all__ = ["LocalBatchProcessor"]


class LocalBatchProcessor:
    """Runs the kernel over the source, one microflow at a time; needs no Java.

    A method of scope data set reads its source once: screened microflows wait in a temporary file, not in memory, until
    the equivalence classes are decided.
    """

    pipeline_type = "batch_microflow"

    def __init__(self, spec: ProcessingSpec) -> None:
        self._spec = spec
        self._anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._anonymizer.output_schema

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory."""
        if self._anonymizer.scope is Scope.DATASET:
            return self._in_two_passes(source, clock)
        return self._in_one_pass(source, clock)

    def _in_one_pass(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        kernel = BatchKernel(self._spec)
        for flow in clock.reading(source):
            before = clock.pure_ns
            with clock.pure():
                released, screened = kernel.run(flow.rows)
            yield processed(flow, released, screened, clock.pure_ns - before)

    def _in_two_passes(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(self._spec.method, self._spec.schema))
        with tempfile.TemporaryFile() as spool:
            waiting = self._screen_all(source, clock, anonymizer, spool)
            with clock.pure():
                anonymizer.freeze()
            with clock.pre():
                spool.seek(0)
                reader = pa.ipc.open_stream(spool)
            for one in waiting:
                with clock.pre():
                    rows = reader.read_next_batch()
                before = clock.pure_ns
                with clock.pure():
                    released = anonymizer.anonymize(rows)
                kept = missing(one.lost, one.place.rows_in)
                screened = Screened(rows, kept, one.findings)
                yield processed(one.place, released, screened, one.spent_ns + clock.pure_ns - before)

    def _screen_all(
        self, source: Iterable[Microflow], clock: PhaseClock, anonymizer: DatasetAnonymizer, spool: IO[bytes]
    ) -> list[_Waiting]:
        """The first pass: every microflow checked, remedied, observed and laid aside on disk."""
        screening = Screening(self._spec)
        waiting = []
        with pa.ipc.new_stream(spool, self._spec.schema.arrow) as writer:
            for flow in clock.reading(source):
                before = clock.pure_ns
                with clock.pure():
                    screened = screening.screen(flow.rows)
                    anonymizer.observe(screened.rows)
                with clock.post():
                    writer.write_batch(screened.rows)
                    lost = missing(screened.kept, len(flow))
                    waiting.append(_Waiting(Place.of(flow), lost, screened.findings, clock.pure_ns - before))
        return waiting


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is remembered of a microflow between the passes: everything but its rows."""

    place: Place
    lost: npt.NDArray[np.int64]
    findings: Findings
    spent_ns: int
