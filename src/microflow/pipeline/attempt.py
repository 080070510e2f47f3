"""Attempt at a job: from the splits of the input to settled output and commits, with its costs."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method
from microflow.anonymize.tokenization import read_key
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine import ENGINES, ProcessingSpec, Processor, build_processor
from microflow.engine.contract import scoped
from microflow.engine.reading import Ids, SplitReader, SplitWork
from microflow.engine.schedulers import Done, InProcess, Scheduler, Workers
from microflow.engine.split_work import Piece, needs_order, only_refused, piece_of
from microflow.engine.worker import ProcessPool
from microflow.errors import InputError, JobCancelledError, MicroflowError
from microflow.pipeline.job import JobSpec, StoreRecords
from microflow.pipeline.journal import MemoryJournal
from microflow.pipeline.metrics import metrics_document, verdict
from microflow.pipeline.output import Files
from microflow.records import Microflow, microflows
from microflow.schema import DatasetSchema
from microflow.settings import MORSEL, Retries, Settings
from microflow.sinks.whole_file import is_device
from microflow.sinks.writers import encoder, text_of
from microflow.sources.files import STANDARD, is_folder, is_url, part_name
from microflow.sources.reader import with_others
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import SPLIT_BYTES, Source
from microflow.store.progress import JobProgress
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.meters import ResourceMeter

__all__ = ["Attempt", "CommitPolicy", "Observer"]

Observer = Callable[[JobProgress], None]
#: An input of fewer bytes is done before a worker process has started.
_SMALL_BYTES = 2 * SPLIT_BYTES
#: Letters of a name in the name of a folder: a file system takes 255.
_LONGEST_PREFIX = 40
#: How large splits are where each is a part, or costs Spark something: it does not even open a smaller file by itself.
_LARGE_SPLIT_BYTES = 4 * SPLIT_BYTES
#: Tasks of Spark that a small input makes at least: with few, some cores wait for the others at the end.
_SPARK_TASKS = 16


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """Largest distance between commits, in microflows and in seconds: a larger one costs less, and more is redone."""

    microflows: int = 256
    seconds: float = 2.0


class Attempt:
    """Attempt at a job, with everything it needs made ready while the clock counts pre-processing.

    Raises:
        MicroflowError: schema, policy, key or settings are not usable.
    """

    def __init__(self, job: JobSpec, commits: CommitPolicy) -> None:
        self._commits = commits
        self.clock = PhaseClock(guard=PurityGuard())
        self.job = job
        self._meter = ResourceMeter()
        self._batch_rows: list[int] = []
        self._resumed_at = 0
        self._scheduler: Scheduler | None = None
        self._processor: Processor | None = None
        with self.clock.pre():
            _refuse_engine(job)
            schema = with_others(load_schema(job.schema), job.input)
            policy = load_policy(job.policy or schema.policy)
            key = read_key(job.method.key_bits) if job.method.method is Method.TOKENIZATION else None
            self.work = ProcessingSpec(schema, policy, job.method, job.microflow_rows, key)
            self.source = _source(job, self.work.schema)
            self._part = part_name(job.output, self.source.files[0]) if is_folder(job.output) else ""
            if job.pipeline == "batch":
                self.work = scoped(self.work, "batch")
            else:
                self._processor = build_processor(self.work, job.pipeline)
            self.folder = _new_folder(job)

    def open(self, journal: MemoryJournal, retries: Retries | None) -> Files:
        """The job's files, continued where they were settled."""
        if self._processor is not None:
            schema = self._processor.output_schema
        else:
            self._scheduler = self._schedule()
            schema = self._scheduler.output_schema
        with self.clock.pre():
            return Files(self.job, schema, journal, part=self._part, several=self.source.is_several, retries=retries)

    def process(self, journal: MemoryJournal, files: Files, observe: Observer) -> None:
        """Take the input through the work into the files.

        Every accepted row ends as released or suppressed, every other row in the quarantine.

        Raises:
            JobCancelledError: somebody asked the job to stop; everything up to now is settled.
        """
        clock = self.clock
        self._resumed_at = journal.progress.microflows
        method = self.work.method
        # Noise without a seed is fresh for every record; seeded noise must be drawn again to come out the same.
        is_seeded = method.method is Method.DIFFERENTIAL_PRIVACY and method.seed is not None
        again = self._resumed_at if is_seeded or self._processor is not None else 0
        done = Done() if again else Done(*journal.settled.get("place", ()))
        repeated = waiting = 0
        began = time.monotonic()
        for split, piece in self._pieces(done):
            self._batch_rows += piece.microflows[:, 0].tolist()
            done = done.after(split, piece)
            if repeated < again:
                repeated += len(piece.microflows)
                journal.repeated(piece)
                continue
            with clock.post():
                turn = journal.progress.rows_read
                if len(piece.microflows) and piece.first_row != turn:
                    raise MicroflowError(f"the engine gave row {piece.first_row} when it was the turn of {turn}")
                files.add(piece, split)
                journal.add(piece)
                waiting += len(piece.microflows)
                now = time.monotonic()
                if waiting >= self._commits.microflows or now - began >= self._commits.seconds:
                    waiting, began = 0, now
                    self._settle(journal, files, done)
            observe(journal.progress)
        with clock.post():
            self._settle(journal, files, done)
            self.source.refuse_changes()
        counted = journal.progress
        if counted.rows_read != counted.rows_released + counted.rows_suppressed:
            raise MicroflowError(
                f"{counted.rows_read} rows were read, {counted.rows_released} released and"
                f" {counted.rows_suppressed} suppressed", hint="this is an error in Microflow: please report it",
            )  # fmt: skip

    def metrics(self, journal: MemoryJournal, reconnections: int) -> dict[str, Any]:
        """The metrics document of this attempt."""
        kind = "batch_microflow_spark" if self.job.engine == "spark" else "batch_microflow"
        if self._processor is not None:
            kind = self._processor.pipeline_type
        document = metrics_document(
            job_id=self.job.name,
            pipeline_type=kind,
            method=self.job.to_document()["method"],
            clock=self.clock,
            usage=self._meter.usage(),
            batch_rows=self._batch_rows,
            progress=journal.progress,
            costs=journal.costs,
            reconnections=reconnections,
            resumed_at=self._resumed_at,
            efforts=() if self._scheduler is None else self._scheduler.efforts,
        )
        engine = self._processor or self._scheduler
        claim = {} if engine is None else engine.describe()
        spec = self.work
        found = verdict(document, spec.schema, spec.policy, spec.method, claim=claim)
        # The seed would let a reader of this document compute seeded noise away.
        document["method"] = {name: value for name, value in document["method"].items() if name != "seed"}
        document["method"]["scope"] = claim.get("scope")  # the one that was used, where none was asked for
        return document | {"claim": claim, "verdict": found.to_dict()}

    def close(self) -> None:
        """End the workers and remove what they left."""
        if self._scheduler is not None:
            self._scheduler.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _settle(self, journal: MemoryJournal, files: Files, done: Done) -> None:
        settled = {**files.settle(), "place": [done.split, done.rows, done.microflows, done.refused]}
        if journal.commit(settled):
            raise JobCancelledError("the job was cancelled", hint="microflow resume goes on where it stopped")

    def _split_work(self) -> SplitWork:
        job = self.job
        text, folder = text_of(self._part or job.output), str(self.folder)
        return SplitWork(self.work, text, folder, self._part, job.quarantine_raw, self.source.is_several)

    def _schedule(self) -> Scheduler:
        job = self.job
        work = replace(
            self._split_work(),
            keep_released=job.store_records is not StoreRecords.NONE,
            keep_original=job.store_records is StoreRecords.ORIGINAL,
            morsel=min(MORSEL, self._commits.microflows),
        )
        if job.engine == "spark":
            from microflow.engine.spark_pool import SparkPool

            return Workers(work, self.clock, SparkPool)
        size = self.source.size
        count = job.workers or len(os.sched_getaffinity(0))
        is_small = job.workers is None and (size is None or size < _SMALL_BYTES)
        if count == 1 or is_small or self.source.is_one_split or needs_order(self.work):
            return InProcess(work, self.clock)
        return Workers(work, self.clock, lambda work: ProcessPool(work, count))

    def _pieces(self, done: Done) -> Iterator[tuple[int, Piece]]:
        if self._processor is None:
            assert self._scheduler is not None
            return self._scheduler.pieces(self.source.splits(), done)
        return self._engine_pieces(self._processor, done)

    def _engine_pieces(self, processor: Processor, done: Done) -> Iterator[tuple[int, Piece]]:
        """Pieces of an engine that takes the source as one stream."""
        job, work = self.job, self._split_work()
        reading = SplitReader(work, list(self.source.splits()), Ids(SeenIds()), done.refused)
        encode = encoder(work.text)
        originals: deque[Microflow] = deque()
        keep = job.store_records

        def flows() -> Iterator[Microflow]:
            for flow in microflows(reading, job.microflow_rows):
                if flow.number >= done.microflows:
                    if keep is StoreRecords.ORIGINAL:
                        originals.append(flow)
                    yield flow

        for processed in processor.process(flows(), self.clock):
            with self.clock.post():
                piece = piece_of(processed, encode)
                piece.refused, piece.quarantine = reading.take_refused()
            piece.released = piece.released if keep is not StoreRecords.NONE else None
            piece.original = originals.popleft().rows if originals else None
            yield 0, piece
        refused, text = reading.take_refused()
        if refused:
            yield 0, only_refused(refused, text)


def _source(job: JobSpec, schema: DatasetSchema) -> Source:
    """The input in splits; how large they are depends on the input alone, so that a resumed job finds the same."""
    size = job.split_bytes or SPLIT_BYTES
    if job.split_bytes is None and is_folder(job.output):
        size = _LARGE_SPLIT_BYTES
    elif job.split_bytes is None and job.engine == "spark":
        size = min(max((Source(job.input, schema).size or 0) // _SPARK_TASKS, SPLIT_BYTES), _LARGE_SPLIT_BYTES)
    return Source(job.input, schema, split_bytes=size)


def _refuse_engine(job: JobSpec) -> None:
    if job.engine not in ENGINES:
        raise MicroflowError(f"no engine {job.engine!r}", hint=f"engines are: {', '.join(ENGINES)}")
    if job.engine == "spark" and job.pipeline != "batch":
        raise MicroflowError(
            f"Spark runs the batch pipeline, not {job.pipeline}", hint="use engine 'local', or pipeline 'batch'"
        )
    if job.engine == "spark" and str(job.input) == STANDARD:
        raise MicroflowError("Spark cannot read standard input", hint="use engine 'local', or a file that workers see")


def _new_folder(job: JobSpec) -> Path:
    """A folder for what is gone again at the end, on the output's own file system where that is a local one."""
    is_elsewhere = str(job.output) == STANDARD or is_url(job.output) or is_device(job.output)
    shared = Settings.read().spark_folder if job.engine == "spark" else None
    prefix = f".{Path(job.output).name[:_LONGEST_PREFIX]}.{job.job_id}."
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=shared or (None if is_elsewhere else Path(job.output).parent)))
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise InputError(reason, path=job.output, hint="choose another folder") from error
