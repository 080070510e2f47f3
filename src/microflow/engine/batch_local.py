"""Batch processing in this process: morsel after morsel of microflows on one core."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO, cast

import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Scope
from microflow.engine.contract import Engine, Processed, ProcessingSpec, scoped
from microflow.engine.kernel import BatchKernel, Screening, warm_up, warmed
from microflow.engine.morsels import Morsel, morsels, results_of
from microflow.engine.spool import Laid, batches_of, lay, pick_up
from microflow.records import Microflow
from microflow.timing.clock import PhaseClock

__all__ = ["LocalBatchProcessor"]


class LocalBatchProcessor(Engine):
    """Runs the kernel over the source, one morsel at a time; needs no Java.

    A method of scope data set reads its source once: screened morsels wait in a temporary file that has no name, not
    in memory, until the equivalence classes are decided.
    """

    pipeline_type = "batch_microflow"

    def __init__(self, spec: ProcessingSpec) -> None:
        self._spec = spec = scoped(spec, "batch")
        self._anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory."""
        flows = warmed(morsels(source), clock, partial(warm_up, self._spec))
        return (
            self._in_two_passes(flows, clock) if self._anonymizer.scope is Scope.DATASET else self._once(flows, clock)
        )

    def _once(self, flows: Iterator[Morsel], clock: PhaseClock) -> Iterator[Processed]:
        with clock.pre():
            kernel = BatchKernel(self._spec)
        self._anonymizer = kernel.anonymizer
        for morsel in flows:
            yield from _through(kernel, morsel, clock)

    def _in_two_passes(self, flows: Iterator[Morsel], clock: PhaseClock) -> Iterator[Processed]:
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(self._spec.method, self._spec.schema))
        with tempfile.TemporaryFile() as spool:
            self._screen_all(flows, clock, anonymizer, spool)
            with clock.pure():
                anonymizer.freeze()
            self._anonymizer = anonymizer
            spool.seek(0)
            for laid, _, _ in clock.reading(pick_up(batches_of(spool))):
                yield from _released(anonymizer, laid, clock)

    def _screen_all(
        self, flows: Iterator[Morsel], clock: PhaseClock, anonymizer: DatasetAnonymizer, spool: IO[bytes]
    ) -> None:
        """The first pass: every morsel checked, remedied, observed and laid aside on disk."""
        screening = Screening(self._spec)
        with pa.ipc.new_stream(spool, self._spec.schema.arrow) as writer:
            for morsel in flows:
                with clock.pure():
                    screened = screening.screen(morsel.rows)
                    anonymizer.observe(screened.rows)
                with clock.post():
                    lay(writer, Laid(morsel.places, screened, clock.pure_spans[-1]))
                    del screened


# Functions of their own, so that nothing of one morsel is left to be freed while the next one is timed.


def _through(kernel: BatchKernel, morsel: Morsel, clock: PhaseClock) -> list[Processed]:
    with clock.pure():
        released, screened = kernel.run_morsel(morsel)
    with clock.post():
        return list(results_of(morsel.places, released, screened, clock.pure_spans[-1]))


def _released(anonymizer: DatasetAnonymizer, laid: Laid, clock: PhaseClock) -> list[Processed]:
    with clock.pure():
        released = anonymizer.anonymize(laid.screened.rows)
    with clock.post():
        spent = laid.pure_ns + clock.pure_spans[-1]
        return list(results_of(laid.places, released, laid.screened, spent))
