"""The work on one split, under any scheduler: read, cut microflows, check, remedy, anonymize, write a part.

A method that works row by row takes one pass (`SplitWorker.release`). k-anonymity of the whole data set takes two:
`SplitWorker.screen` writes screened rows to a spool file and counts them; when the counts of all splits are merged
and the classes decided, `SplitWorker.release_screened` goes through the spools. Everything here is plain Python on
Arrow and may be pickled; the clock and the purity guard run where the work is done, and their evidence is returned.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, Released, Scope
from microflow.compliance import Findings
from microflow.engine.contract import Processed, ProcessingSpec, Processor, scoped
from microflow.engine.kernel import (
    BatchKernel,
    Morsel,
    Screening,
    absent,
    morsels,
    placed,
    results_of,
    tally,
    warm_up,
    warm_up_counting,
    warm_up_deciding,
)  # fmt: skip
from microflow.engine.reading import Digests, Ids, SplitReader, SplitWork, Spooled, Text, batches_of, lay, pick_up
from microflow.records import Microflow, microflows
from microflow.sinks.writers import Encoder, encoder, private
from microflow.sources.splits import Split
from microflow.timing.clock import PhaseClock

__all__ = [
    "Effort", "LocalBatchProcessor", "Piece", "SplitResult", "SplitWorker", "needs_order", "only_refused", "piece_of",
]  # fmt: skip

#: After so many rows everything has been used once.
_WARM_ROWS = 5_000
#: What the name of a spool ends with that holds rows as they were read.
_ORIGINAL = ".original"


@dataclass(slots=True)
class Piece:
    """Microflows that were processed together, ready to be written and committed.

    ``microflows`` (int64, n × 5) counts each: see `tally`. ``ordinals`` and ``suppressed`` (int64) name released and
    suppressed rows; they and ``first_row`` count accepted rows of the split until `moved` makes them the job's.
    ``findings`` count rows from ``first_row``. ``body`` is what goes to the output: text, a batch, or a stretch of a
    part file, which is a batch again where the output is no text.
    """

    first_row: int
    microflows: npt.NDArray[np.int64]
    ordinals: npt.NDArray[np.int64]
    suppressed: npt.NDArray[np.int64]
    findings: Findings
    body: Text | pa.RecordBatch
    refused: int = 0
    quarantine: Text = b""
    released: pa.RecordBatch | None = None
    original: pa.RecordBatch | None = None

    def moved(self, rows: int) -> Piece:
        """Piece with its ordinals shifted by a number of rows."""
        return replace(
            self, first_row=self.first_row + rows, ordinals=self.ordinals + rows, suppressed=self.suppressed + rows
        )


def only_refused(refused: int, text: Text) -> Piece:
    """A piece without rows: what was refused behind the last accepted one."""
    none = np.empty(0, np.int64)
    return Piece(0, np.empty((0, 5), np.int64), none, none, Findings.none(0), b"", refused, text)


def piece_of(done: Processed, encode: Encoder) -> Piece:
    """A microflow that an engine processed, as a piece of a job."""
    counts = [done.rows_in, done.released.num_rows, len(done.suppressed), len(done.findings), done.pure_ns]
    return Piece(
        done.first_row, np.array([counts], np.int64), done.ordinals, done.suppressed, done.findings,
        encode(done.released), released=done.released,
    )  # fmt: skip


@dataclass(slots=True)
class Effort:
    """Cost of work in the process that did it: pre- and post-processing in ns, each pure span, evidence."""

    worker: str = ""
    pre_ns: int = 0
    post_ns: int = 0
    pure: list[int] = field(default_factory=list)
    evidence: dict[str, object] | None = None


@dataclass(slots=True)
class SplitResult:
    """Result of a split that is done, or screened: its accepted rows, and the digests of their record ids.

    Done, it has its pieces, whose bodies lie in a part file. Screened, it has a spool with its rows, and their counts.
    """

    split: int
    effort: Effort
    ids: list[Digests]
    rows: int = 0
    pieces: list[Piece] = field(default_factory=list)
    spool: str = ""
    counts: pa.RecordBatch | None = None


def needs_order(spec: ProcessingSpec) -> bool:
    """True if the result depends on the order of the microflows, so that one process must do all the work.

    Equivalence classes inside microflows depend on where the source is cut; seeded noise without whole-number record
    ids is drawn in the order of the rows. Everything else looks at one row, or at all of them.
    """
    settings, schema = spec.method, spec.schema
    if settings.method is Method.K_ANONYMITY:
        return settings.scope is not None and settings.scope is not Scope.DATASET
    if settings.method is Method.DIFFERENTIAL_PRIVACY and settings.seed is not None:
        name = schema.record_id
        return name is None or not pa.types.is_integer(schema[name].dtype.arrow)
    return False


class SplitWorker:
    """Worker on splits, one after the other; one object belongs to one process and thread.

    Args:
        work: What to do.
        clock: Counts its phases, with a guard.
    """

    def __init__(self, work: SplitWork, clock: PhaseClock) -> None:
        self._work, self._clock = work, clock
        spec = work.spec
        with clock.pre():
            self._nothing = pa.RecordBatch.from_pylist([], schema=spec.schema.arrow)
            self._cold_rows = _WARM_ROWS
            self._looked_up = False
            self.anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
            self.is_two_pass = self.anonymizer.scope is Scope.DATASET
            self._screening = Screening(spec)
            self._kernel: BatchKernel | None = None
            if not self.is_two_pass:
                self._kernel = BatchKernel(spec, self._screening)
                self.anonymizer = self._kernel.anonymizer
            self._encode = encoder(work.text)

    # One pass

    def note_ids(self, splits: Sequence[Split], ids: Ids) -> None:
        """Read splits only for their record ids."""
        if self._work.spec.schema.record_id is not None:
            with self._clock.pre():
                for _ in SplitReader(self._work, splits, ids):
                    pass

    def release(self, splits: Sequence[Split], ids: Ids, skip: int = 0, refused: int = 0) -> Iterator[Piece]:
        """Pieces of splits that are read as one.

        The first ``skip`` microflows are read and not worked on, and the first ``refused`` rows not refused again.
        """
        reading = SplitReader(self._work, splits, ids, refused)
        flows = microflows(reading, self._work.spec.microflow_rows)
        for morsel in self.morsels(flow for flow in flows if flow.number >= skip):
            released, findings = self.run(morsel)
            with self._clock.post():
                piece = self._piece(morsel, released, findings, self._clock.pure_spans[-1])
                piece.refused, piece.quarantine = reading.take_refused()
                piece.original = morsel.rows if self._work.keep_original else None
            yield piece
        count, text = reading.take_refused()
        if count:  # behind the last accepted row
            yield only_refused(count, text)

    def run(self, morsel: Morsel) -> tuple[Released, Findings]:
        """The pure phase of one morsel."""
        assert self._kernel is not None
        with self._clock.pure():
            return self._kernel.run_morsel(morsel)

    # Two passes

    def screen(self, splits: Sequence[Split], ids: Ids, spool: str) -> tuple[pa.RecordBatch, int]:
        """The first pass: screened rows go to the file ``spool``; returns the counts of their tuples, and the rows."""
        reading = SplitReader(self._work, splits, ids)
        flows = microflows(reading, self._work.spec.microflow_rows)
        with ExitStack() as opened:
            originals = opened.enter_context(private(spool + _ORIGINAL)) if self._work.keep_original else None
            counts = self.screen_all(flows, opened.enter_context(private(spool)), reading.take_refused, originals)
        return counts, ids.accepted

    def screen_all(
        self,
        flows: Iterable[Microflow],
        spool: IO[bytes],
        take_refused: Callable[[], tuple[int, Text]] = lambda: (0, b""),
        originals: IO[bytes] | None = None,
    ) -> pa.RecordBatch:
        """Screen, observe and spool; returns the counts of the observed tuples."""
        clock, spec = self._clock, self._work.spec
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        with ExitStack() as opened:
            writer = opened.enter_context(pa.ipc.new_stream(spool, spec.schema.arrow))
            originally = originals and opened.enter_context(pa.ipc.new_stream(originals, spec.schema.arrow))
            for morsel in self.morsels(flows):
                with clock.pure():
                    screened, findings = self._screening.screen(morsel.rows)
                    anonymizer.observe(screened.rows)
                with clock.post():
                    lay(writer, Spooled(morsel, screened, findings, clock.pure_spans[-1], *take_refused()))
                    if originally:
                        originally.write_batch(morsel.rows)
                    del screened, findings
            with clock.post():
                refused, text = take_refused()
                if refused:
                    nothing = Released.whole(self._nothing)
                    morsel = Morsel(0, 0, nothing.kept, self._nothing)
                    lay(writer, Spooled(morsel, nothing, Findings.none(0), 0, refused, text))
        with clock.pure():
            return anonymizer.counts

    def release_screened(
        self, anonymizer: DatasetAnonymizer, spool: str, skip: int = 0, skip_refused: int = 0
    ) -> Iterator[Piece]:
        """The second pass, over one spool, behind so many microflows and refused rows."""
        passed = refusals = 0
        with ExitStack() as opened:
            originals = None
            if self._work.keep_original:
                originals = batches_of(opened.enter_context(Path(spool + _ORIGINAL).open("rb")))
            for spooled in self._clock.reading(pick_up(opened.enter_context(Path(spool).open("rb")))):
                microflows = len(spooled.morsel.ends)
                passed, refusals = passed + microflows, refusals + spooled.refused
                original = next(originals)[0] if originals is not None and microflows else None
                if passed <= skip and refusals <= skip_refused:
                    continue
                if not microflows:
                    yield only_refused(spooled.refused, spooled.text)
                    continue
                released = self.look_up(anonymizer, spooled.screened)
                with self._clock.post():
                    spent = spooled.pure_ns + self._clock.pure_spans[-1]
                    piece = self._piece(spooled.morsel, released, spooled.findings, spent)
                    piece.refused, piece.quarantine, piece.original = spooled.refused, spooled.text, original
                yield piece

    def look_up(self, anonymizer: DatasetAnonymizer, screened: Released) -> Released:
        """Released rows of one morsel, after the classes are decided."""
        if not self._looked_up:
            with self._clock.pre():
                anonymizer.anonymize(screened.rows)
            self._looked_up = True
        with self._clock.pure():
            return placed(anonymizer.anonymize(screened.rows), screened)

    # Shared

    def morsels(self, flows: Iterable[Microflow]) -> Iterator[Morsel]:
        """The microflows in morsels, read in pre-processing, everything warmed up before the first."""
        for morsel in self._clock.reading(morsels(flows, self._work.morsel)):
            self._warm(morsel.rows)
            yield morsel
        if self._cold_rows == _WARM_ROWS:
            self._warm(self._nothing)  # a source without a row has classes too: none

    def _warm(self, rows: pa.RecordBatch) -> None:
        """Run everything once on what is thrown away: lazy imports and first-use caches are not processing.

        Few rows do not go every way through the code: then the next ones are run beforehand too.
        """
        if self._cold_rows > 0:
            with self._clock.pre():
                (warm_up_counting if self.is_two_pass else warm_up)(self._work.spec, rows, self._screening)
            self._cold_rows -= max(rows.num_rows, 1)

    def _piece(self, morsel: Morsel, released: Released, findings: Findings, pure_ns: int) -> Piece:
        positions, first = released.kept, morsel.first_row
        return Piece(
            first, tally(morsel.ends, positions, findings, pure_ns), first + positions,
            first + absent(positions, len(morsel)), findings, self._encode(released.rows),
            released=released.rows if self._work.keep_released else None,
        )  # fmt: skip


class LocalBatchProcessor(Processor):
    """Batch engine on microflows in memory, in this process: for experiments, and for trials on samples.

    A method of scope data set reads its source once: screened morsels wait in a temporary file without a name.
    """

    pipeline_type = "batch_microflow"

    def __init__(self, spec: ProcessingSpec) -> None:
        self._spec = spec = scoped(spec, "batch")
        self._anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory."""
        worker = SplitWorker(SplitWork(self._spec), clock)
        if not worker.is_two_pass:
            self._anonymizer = worker.anonymizer
            for morsel in worker.morsels(source):
                yield from _through(worker, morsel, clock)
            return
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(self._spec.method, self._spec.schema))
        with tempfile.TemporaryFile() as spool:
            counts = worker.screen_all(source, spool)
            with clock.pre():
                warm_up_deciding(self._spec)
            with clock.pure():
                anonymizer.merge(counts)
                anonymizer.freeze()
            self._anonymizer = anonymizer
            spool.seek(0)
            for spooled in clock.reading(pick_up(spool)):
                yield from _looked_up(worker, anonymizer, spooled, clock)


# Functions of their own, so that nothing of one morsel is left to be freed while the next one is timed.


def _through(worker: SplitWorker, morsel: Morsel, clock: PhaseClock) -> list[Processed]:
    released, findings = worker.run(morsel)
    with clock.post():
        return list(results_of(morsel, released, findings, clock.pure_spans[-1]))


def _looked_up(
    worker: SplitWorker, anonymizer: DatasetAnonymizer, spooled: Spooled, clock: PhaseClock
) -> list[Processed]:
    released = worker.look_up(anonymizer, spooled.screened)
    with clock.post():
        spent = spooled.pure_ns + clock.pure_spans[-1]
        return list(results_of(spooled.morsel, released, spooled.findings, spent))
