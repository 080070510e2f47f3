"""The work on one split, whoever schedules it: read, cut microflows, check, remedy, anonymize, write a part.

A method that works row by row takes one pass (`SplitWorker.release`). k-anonymity of the whole data set takes two:
`SplitWorker.screen` lays screened rows aside in a spool file and counts them; when the counts of all splits are merged
and the classes decided, `SplitWorker.release_screened` goes through the spools. Everything here is plain Python on
Arrow and may be pickled; the clock and the purity guard run where the work is done, and their evidence is returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, Released, Scope
from microflow.compliance import Findings
from microflow.engine.contract import Processed, ProcessingSpec
from microflow.engine.kernel import BatchKernel, Screened, Screening, warm_up, warm_up_counting
from microflow.engine.morsels import Morsel, Places, morsels
from microflow.engine.reading import Digests, Ids, Part, Reading, Work
from microflow.engine.spool import Laid, batches_of, lay, pick_up
from microflow.records import microflows
from microflow.schema import DatasetSchema
from microflow.sinks.writers import Encoder, encoder, private
from microflow.sources.splits import Split
from microflow.timing.clock import PhaseClock

__all__ = [
    "MICROFLOW",
    "Effort",
    "Piece",
    "ScreenedSplit",
    "SplitResult",
    "SplitWorker",
    "needs_order",
    "only_refused",
    "piece_of",
]

#: After so many rows everything has been used once.
_WARM_ROWS = 5_000
#: What the name of a spool ends with that holds rows as they were read.
_ORIGINAL = ".original"
#: What is counted of each microflow, one row an entry of `Piece.microflows`.
MICROFLOW = ("rows_in", "released", "suppressed", "violations", "pure_ns")


@dataclass(slots=True)
class Piece:
    """Microflows that were worked on together, ready to be written and committed.

    ``microflows`` (int64, n × 5) counts each: see `MICROFLOW`. ``ordinals`` and ``suppressed`` (int64) name released
    and suppressed rows; they and ``first_row`` count accepted rows of the split until `moved` makes them the
    job's.
    ``findings`` count rows from ``first_row``. ``body`` is what goes to the output: text, a batch, or a stretch of a
    part file, which is a batch again where the output is no text.
    """

    first_row: int
    microflows: npt.NDArray[np.int64]
    ordinals: npt.NDArray[np.int64]
    suppressed: npt.NDArray[np.int64]
    findings: Findings
    body: bytes | pa.RecordBatch | Part
    refused: int = 0
    quarantine: bytes | Part = b""
    released: pa.RecordBatch | None = None
    original: pa.RecordBatch | None = None

    @property
    def rows_in(self) -> int:
        """Accepted rows that were read for it."""
        return int(self.microflows[:, 0].sum())

    def moved(self, rows: int) -> Piece:
        """The same, so many rows further on."""
        return replace(
            self, first_row=self.first_row + rows, ordinals=self.ordinals + rows, suppressed=self.suppressed + rows
        )


@dataclass(slots=True)
class Effort:
    """What work took where it was done: nanoseconds before and after the pure phase, and each pure span; evidence."""

    worker: str = ""
    pre_ns: int = 0
    post_ns: int = 0
    pure: list[int] = field(default_factory=list)
    evidence: dict[str, object] | None = None


@dataclass(slots=True)
class SplitResult:
    """A split that is done: its pieces, whose bodies lie in a part file, and the digests of its record ids."""

    split: int
    pieces: list[Piece]
    ids: list[Digests]
    effort: Effort
    rows: int = 0


@dataclass(slots=True)
class ScreenedSplit:
    """A split after the first pass: the spool with its rows, what was counted in it, the digests of its record ids."""

    split: int
    spool: str
    counts: pa.RecordBatch | None
    ids: list[Digests]
    effort: Effort
    rows: int = 0


def needs_order(spec: ProcessingSpec) -> bool:
    """Whether the answer depends on the order in which microflows are worked on, so that one process must do it all.

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
    """Does the work on splits, one after the other; one object belongs to one process and thread.

    Args:
        work: What to do.
        clock: Counts its phases, with a guard.
    """

    def __init__(self, work: Work, clock: PhaseClock) -> None:
        self._work = work
        self._clock = clock
        spec = work.spec
        with clock.pre():
            nothing = pa.RecordBatch.from_pylist([], schema=spec.schema.arrow)
            self._cold_rows = _WARM_ROWS
            self._looked_up = False
            anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
            self.is_two_pass = anonymizer.scope is Scope.DATASET
            self.output_schema = anonymizer.output_schema
            self._screening = Screening(spec)
            self._kernel = None if self.is_two_pass else BatchKernel(spec, self._screening)
            self._encode = encoder(work.text)
        self._nothing = nothing
        self._anonymizer = anonymizer if self._kernel is None else self._kernel.anonymizer

    def describe(self) -> dict[str, object]:
        """What the method guarantees, and in one pass what it achieved."""
        return self._anonymizer.describe()

    # One pass

    def note_ids(self, splits: Sequence[Split], ids: Ids) -> None:
        """Only read, for the record ids."""
        if self._work.spec.schema.record_id is not None:
            with self._clock.pre():
                for _ in Reading(self._work, splits, ids):
                    pass

    def release(self, splits: Sequence[Split], ids: Ids, skip: int = 0, refused: int = 0) -> Iterator[Piece]:
        """Pieces of splits that are read as one.

        The first ``skip`` microflows are read and not worked on, and the first ``refused`` rows not refused again.
        """
        assert self._kernel is not None
        reading = Reading(self._work, splits, ids, refused)
        for morsel in self._morsels(reading, skip):
            released, screened = self._run(morsel)
            spent = self._clock.pure_spans[-1]
            with self._clock.post():
                piece = self._piece(morsel.places, released, screened, spent, reading)
                piece.original = morsel.rows if self._work.keep_original else None
            yield piece
        count, text = reading.take_refused()
        if count:  # behind the last accepted row
            yield only_refused(count, text)

    def _run(self, morsel: Morsel) -> tuple[Released, Screened]:
        assert self._kernel is not None
        with self._clock.pure():
            return self._kernel.run_morsel(morsel)

    # Two passes

    def screen(self, splits: Sequence[Split], ids: Ids, spool: str) -> tuple[pa.RecordBatch, int]:
        """The first pass: screened rows go to the file ``spool``; returns the counts of their tuples, and the rows."""
        clock, spec = self._clock, self._work.spec
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        reading = Reading(self._work, splits, ids)
        rows = 0
        with ExitStack() as opened:
            writer = _spool(spool, spec.schema, opened)
            originals = _spool(spool + _ORIGINAL, spec.schema, opened) if self._work.keep_original else None
            for morsel in self._morsels(reading, 0):
                with clock.pure():
                    screened = self._screening.screen(morsel.rows)
                    anonymizer.observe(screened.rows)
                with clock.post():
                    rows += len(morsel)
                    laid = Laid(morsel.places, screened, clock.pure_spans[-1])
                    lay(writer, laid, *reading.take_refused())
                    if originals is not None:
                        originals.write_batch(morsel.rows)
                    del screened
            with clock.post():
                refused, text = reading.take_refused()
                if refused:
                    none = Screened(self._nothing, np.empty(0, np.int64), Findings.none(0))
                    lay(writer, Laid((), none, 0), refused, text)
        with clock.pure():
            counts = anonymizer.counts
        return counts, rows

    def release_screened(
        self, anonymizer: DatasetAnonymizer, spool: str, skip: int = 0, skip_refused: int = 0
    ) -> Iterator[Piece]:
        """The second pass, over one spool, behind so many microflows and refused rows."""
        clock = self._clock
        microflows = refusals = 0
        is_cold, self._looked_up = not self._looked_up, True
        with ExitStack() as opened:
            file = opened.enter_context(Path(spool).open("rb"))
            originals = None
            if self._work.keep_original:
                originals = batches_of(opened.enter_context(Path(spool + _ORIGINAL).open("rb")))
            for laid, refused, text in clock.reading(pick_up(batches_of(file))):
                microflows += len(laid.places)
                refusals += refused
                original = next(originals)[0] if originals is not None and laid.places else None
                if microflows <= skip and refusals <= skip_refused:
                    continue
                if not laid.places:
                    yield only_refused(refused, text)
                    continue
                if is_cold:
                    with clock.pre():
                        anonymizer.anonymize(laid.screened.rows)
                    is_cold = False
                with clock.pure():
                    released = anonymizer.anonymize(laid.screened.rows)
                with clock.post():
                    spent = laid.pure_ns + clock.pure_spans[-1]
                    piece = self._piece(laid.places, released, laid.screened, spent, None)
                    piece.refused, piece.quarantine, piece.original = refused, text, original
                yield piece

    # Shared

    def _morsels(self, reading: Reading, skip: int) -> Iterator[Morsel]:
        flows = microflows(reading, self._work.spec.microflow_rows)
        wanted = (flow for flow in flows if flow.number >= skip)
        for morsel in self._clock.reading(morsels(wanted, self._work.morsel)):
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

    def _piece(
        self, places: Places, released: Released, screened: Screened, pure_ns: int, reading: Reading | None
    ) -> Piece:
        positions, findings = screened.kept[released.kept], screened.findings
        first = places[0].first_row if places else 0
        ends = np.cumsum([place.rows_in for place in places], dtype=np.int64)
        seen = int(ends[-1]) if len(ends) else 0
        counted = np.empty((len(places), len(MICROFLOW)), np.int64)
        counted[:, 0] = np.diff(ends, prepend=0)
        counted[:, 1] = np.diff(np.searchsorted(positions, ends), prepend=0)
        counted[:, 2] = counted[:, 0] - counted[:, 1]
        counted[:, 3] = np.diff(np.searchsorted(findings.rows, ends), prepend=0)
        counted[:, 4] = np.diff(pure_ns * ends // max(seen, 1), prepend=0)
        absent = np.ones(seen, np.bool_)
        absent[positions] = False
        refused, text = reading.take_refused() if reading is not None else (0, b"")
        return Piece(
            first, counted, first + positions, first + np.flatnonzero(absent), findings, self._encode(released.rows),
            refused, text, released.rows if self._work.keep_released else None,
        )  # fmt: skip


def only_refused(refused: int, text: bytes | Part) -> Piece:
    """A piece without rows: what was refused behind the last accepted one."""
    none = np.empty(0, np.int64)
    return Piece(0, np.empty((0, len(MICROFLOW)), np.int64), none, none, Findings.none(0), b"", refused, text)


def _spool(path: str, schema: DatasetSchema, opened: ExitStack) -> pa.ipc.RecordBatchStreamWriter:
    return opened.enter_context(pa.ipc.new_stream(opened.enter_context(private(path)), schema.arrow))


def piece_of(done: Processed, encode: Encoder) -> Piece:
    """A microflow that an engine processed, as a piece of a job."""
    counted = np.array(
        [[done.rows_in, done.released.num_rows, len(done.suppressed), len(done.findings), done.pure_ns]], np.int64
    )
    return Piece(
        done.first_row, counted, done.ordinals, done.suppressed, done.findings, encode(done.released),
        released=done.released,
    )  # fmt: skip
