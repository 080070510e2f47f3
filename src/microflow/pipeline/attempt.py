"""One attempt at a job: from the microflows of the input to settled output and commits, and what that cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import read_key
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.errors import JobCancelledError, MicroflowError
from microflow.ingest import Quarantine, read_microflows
from microflow.ingest.columns import with_others
from microflow.microflows import Microflow
from microflow.pipeline.job import JobSpec, StoreRecords
from microflow.pipeline.journal import MemoryJournal
from microflow.pipeline.metrics import metrics_document
from microflow.pipeline.output import Output
from microflow.processors import Processed, ProcessingSpec, Processor, build_processor
from microflow.store.jobs import Progress
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.resources import ResourceMeter

__all__ = ["Attempt", "CommitPolicy", "Observer"]

Observer = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """How many microflows, and seconds, lie between commits at most: more cost less, and are more to do again."""

    microflows: int = 64
    seconds: float = 2.0


class Attempt:
    """Everything that one attempt needs, made ready while the clock counts pre-processing.

    Raises:
        MicroflowError: schema, policy, key or settings are not usable.
    """

    def __init__(self, job: JobSpec) -> None:
        self.clock = PhaseClock(guard=PurityGuard())
        self.job = job
        self._meter = ResourceMeter()
        self._batch_rows: list[int] = []
        self._start = Progress()
        with self.clock.pre():
            self.work = _work_of(job)
            self._processor: Processor = build_processor(self.work, job.pipeline, job.engine)

    def process(self, journal: MemoryJournal, output: Output, commits: CommitPolicy, observe: Observer) -> int:
        """Take the input through the processor into the output; returns the number of quarantined rows.

        Every accepted row ends as released or suppressed, every other row in the quarantine.

        Raises:
            JobCancelledError: somebody asked the job to stop; everything up to now is settled.
        """
        job, clock = self.job, self.clock
        self._start = journal.progress
        with Quarantine(job.quarantine, keep_raw=job.quarantine_raw) as quarantine:
            source = _Source(self._read(quarantine), self._start.microflows if _forgets(job.method) else 0)
            originals = self._originals()
            turn = _Turn(commits)
            for done in self._processor.process(source, clock):
                self._batch_rows.append(done.rows_in)
                if done.number < self._start.microflows:
                    journal.repeated(done)
                    continue
                with clock.post():
                    _refuse_gap(done, journal.progress)
                    output.add(done.released)
                    journal.add(done, next(originals, None))
                    if turn.is_over():
                        _settle(journal, output)
                observe(journal.progress)
            with clock.post():
                _settle(journal, output)
            _refuse_loss(source.rows, journal.progress)
        return quarantine.total

    @property
    def output_schema(self) -> Any:
        """The Arrow schema of released rows."""
        return self._processor.output_schema

    def metrics(self, journal: MemoryJournal, rows_quarantined: int, reconnections: int) -> dict[str, Any]:
        """The metrics document of this attempt."""
        assert self.job.job_id is not None
        return metrics_document(
            job_id=self.job.job_id,
            pipeline_type=self._processor.pipeline_type,
            method=self.job.to_document()["method"],
            clock=self.clock,
            usage=self._meter.usage(),
            batch_rows=self._batch_rows,
            progress=journal.progress,
            rows_quarantined=rows_quarantined,
            cost=journal.cost,
            reconnections=reconnections,
            resumed_at=self._start.microflows,
        )

    def _read(self, quarantine: Quarantine) -> Iterator[Microflow]:
        return read_microflows(self.job.input, self.work.schema, quarantine=quarantine, size=self.job.microflow_rows)

    def _originals(self) -> Iterator[Microflow]:
        """The input once more, beside the first reading: nothing has to be held until its results arrive."""
        if self.job.store_records is StoreRecords.ORIGINAL:
            for flow in self._read(Quarantine()):
                if flow.number >= self._start.microflows:
                    yield flow


class _Source:
    """The microflows of the input from ``first`` on; counts the rows of all."""

    def __init__(self, flows: Iterator[Microflow], first: int) -> None:
        self._flows = flows
        self._first = first
        self.rows = 0

    def __iter__(self) -> Iterator[Microflow]:
        for flow in self._flows:
            self.rows += len(flow)
            if flow.number >= self._first:
                yield flow


@dataclass
class _Turn:
    """Counts microflows and time since the last commit."""

    commits: CommitPolicy
    microflows: int = 0
    started: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Count one microflow; true if it is time to commit, which starts the next turn."""
        self.microflows += 1
        now = time.monotonic()
        if self.microflows < self.commits.microflows and now - self.started < self.commits.seconds:
            return False
        self.microflows, self.started = 0, now
        return True


def _work_of(job: JobSpec) -> ProcessingSpec:
    schema = with_others(load_schema(job.schema), job.input)
    key = read_key(job.method.key_bits) if job.method.method is Method.TOKENIZATION else None
    return ProcessingSpec(schema, load_policy(job.policy or schema.policy), job.method, job.microflow_rows, key)


def _forgets(method: MethodSettings) -> bool:
    """Whether a microflow's result owes nothing to those before it: then committed ones need not be done again.

    Noise without a seed is fresh for every record; seeded noise must be drawn again to come out the same.
    """
    if method.method is Method.DIFFERENTIAL_PRIVACY:
        return method.seed is None
    return method.method is not Method.K_ANONYMITY


def _settle(journal: MemoryJournal, output: Output) -> None:
    if journal.commit(output.settle()):
        raise JobCancelledError("the job was cancelled", hint="microflow resume goes on where it stopped")


def _refuse_gap(done: Processed, progress: Progress) -> None:
    if done.number != progress.microflows or done.first_row != progress.rows_read:
        raise MicroflowError(f"the engine gave microflow {done.number} when it was the turn of {progress.microflows}")


def _refuse_loss(rows: int, progress: Progress) -> None:
    if not rows == progress.rows_read == progress.rows_released + progress.rows_suppressed:
        raise MicroflowError(
            f"{rows} rows were read, {progress.rows_released} released and {progress.rows_suppressed} suppressed",
            hint="this is an error in Microflow: please report it",
        )
