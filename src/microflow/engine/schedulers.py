"""Schedulers of the work on splits: this process, or a pool of workers. Results come in the splits' order.

All call the one work of `microflow.engine.split_work`; a scheduler hands out splits, keeps record ids unique
across them, merges the counts of data-set k-anonymity, and gathers what each worker's clock and guard measured. A pool
is processes of this machine (`microflow.engine.worker`) or the tasks of Spark (`microflow.engine.spark_pool`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer
from microflow.engine.kernel import warm_up_deciding
from microflow.engine.reading import Ids, SplitWork, doubled_in
from microflow.engine.split_work import Effort, Piece, SplitResult, SplitWorker, needs_order
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Split
from microflow.timing.clock import PhaseClock

__all__ = ["Done", "InProcess", "Pool", "Scheduler", "Workers"]

#: The number of a split, the name of a work, and what it gets.
Task = tuple[int, str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Done:
    """Progress of a job through its splits: those before ``split`` are settled, with ``rows`` accepted rows.

    Of ``split`` itself so many ``microflows`` and ``refused`` rows are settled.
    """

    split: int = 0
    rows: int = 0
    microflows: int = 0
    refused: int = 0

    def after(self, split: int, piece: Piece) -> Done:
        """Progress after one more piece; the first one of a split begins with the split's first row."""
        now = self if split == self.split else Done(split, piece.first_row)
        return replace(now, microflows=now.microflows + len(piece.microflows), refused=now.refused + piece.refused)

    def of(self, split: int) -> tuple[int, int]:
        """Microflows and refused rows of a split that are settled."""
        return (self.microflows, self.refused) if split == self.split else (0, 0)


class Scheduler(Protocol):
    """Scheduler: yields the pieces of all splits in order, with the number of their split and the job's ordinals."""

    @property
    def output_schema(self) -> pa.Schema:
        """Arrow schema of the released rows."""
        ...

    @property
    def efforts(self) -> Sequence[Effort]:
        """Evidence of each worker's clock and guard; none if the job's own process does the work."""
        ...

    def pieces(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        """The pieces behind what is ``done``."""
        ...

    def describe(self) -> dict[str, object]:
        """Method and guarantee, as they were carried out."""
        ...

    def close(self) -> None:
        """Stop, also in the middle of the work."""
        ...


class InProcess:
    """Scheduler in this process, on one core, which keeps only the current morsel in memory."""

    efforts: Sequence[Effort] = ()

    def __init__(self, work: SplitWork, clock: PhaseClock) -> None:
        self._work, self._clock = work, clock
        self._worker = SplitWorker(work, clock)
        self.output_schema = self._worker.anonymizer.output_schema
        self._claim: dict[str, object] | None = None

    def describe(self) -> dict[str, object]:
        return self._claim or self._worker.anonymizer.describe()

    def close(self) -> None:
        """Do nothing: there is no worker to end."""

    def pieces(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        splits = self._clock.reading(splits)
        if self._worker.is_two_pass:
            yield from self._in_two_passes(splits, done)
            return
        seen, rows = SeenIds(), done.rows
        groups = [list(splits)] if needs_order(self._work.spec) else ([split] for split in splits)
        for group in groups:
            ids = Ids(seen)
            if group and group[0].number < done.split:
                self._worker.note_ids(group, ids)
                continue
            begun = done.of(group[0].number) if group else (0, 0)
            for piece in self._worker.release(group, ids, *begun):
                yield group[0].number, piece.moved(rows)
            rows += ids.accepted

    def _in_two_passes(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        spec = self._work.spec
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        seen = SeenIds()
        spools: list[tuple[Split, str, int]] = []
        for split in splits:
            spool = str(Path(self._work.folder, f"{split.number:06d}.spool"))
            counts, rows = self._worker.screen([split], Ids(seen), spool)
            with self._clock.pure():
                anonymizer.merge(counts)
            spools.append((split, spool, rows))
        with self._clock.pre():
            warm_up_deciding(spec)
        with self._clock.pure():
            anonymizer.freeze()
        self._claim = anonymizer.describe()
        before = 0
        for split, spool, rows in spools:
            if split.number >= done.split:
                for piece in self._worker.release_screened(anonymizer, spool, *done.of(split.number)):
                    yield split.number, piece.moved(before)
            before += rows
            with self._clock.post():
                Path(spool).unlink()


class Pool(Protocol):
    """Workers in other processes; see `microflow.engine.worker.Server` for what they can be asked."""

    @property
    def ahead(self) -> int:
        """Number of tasks that may be in progress, so that no worker waits for the next one."""
        ...

    def submit(self, number: int, name: str, arguments: tuple[object, ...]) -> Future[Any]:
        """Have the work ``name`` done on split ``number``; tasks begin in the order in which they are submitted."""
        ...

    def share(self, classes: object) -> None:
        """Send the equivalence classes to every worker."""
        ...

    def close(self) -> None:
        """Stop, also in the middle of the work."""
        ...


class Workers:
    """Scheduler that distributes splits to the workers of a pool.

    Args:
        work: What to do.
        clock: Of the whole job: gets what the workers measured.
        start: Starts the pool.
    """

    def __init__(self, work: SplitWork, clock: PhaseClock, start: Callable[[SplitWork], Pool]) -> None:
        self._work, self._clock = work, clock
        anonymizer = build_anonymizer(work.spec.method, work.spec.schema, work.spec.key)
        self._two_pass = isinstance(anonymizer, DatasetAnonymizer)
        self._claim = anonymizer.describe()
        self.output_schema = anonymizer.output_schema
        #: What each worker's clock and guard saw.
        self.efforts: list[Effort] = []
        with clock.pre():
            self._pool = start(work)

    def describe(self) -> dict[str, object]:
        return self._claim

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def pieces(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        try:
            if needs_order(self._work.spec):
                yield from self._in_one_task(splits, done)
            else:
                yield from self._two_passes(splits, done) if self._two_pass else self._one_pass(splits, done)
        finally:
            self.close()

    def _in_one_task(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        arguments = tuple(self._clock.reading(splits)), None, done.microflows, done.refused
        for piece in self._result(self._pool.submit(0, "release_in_order", arguments)).pieces:
            yield 0, piece

    def _one_pass(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        rows = done.rows
        named = self._work.spec.schema.record_id is not None

        def task(split: Split) -> tuple[str, tuple[int, ...]] | None:
            if split.number < done.split:
                return ("ids", ()) if named else None
            return "release", done.of(split.number)

        for result in self._unique(splits, task):
            for piece in result.pieces:
                yield result.split, piece.moved(rows)
            rows += result.rows

    def _two_passes(self, splits: Iterable[Split], done: Done) -> Iterator[tuple[int, Piece]]:
        spec = self._work.spec
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        with self._clock.pre():
            warm_up_deciding(spec)
        screened = list(self._unique(splits, lambda _: ("screen", ())))
        # Only now: while threads of ours still talk to workers, the guard would take them for helpers of the merging.
        for part in screened:
            with self._clock.pure():
                anonymizer.merge(cast("pa.RecordBatch", part.counts))
            part.counts = None
        with self._clock.pure():
            anonymizer.freeze()
        self._claim = anonymizer.describe()
        self._pool.share(anonymizer)
        before = np.cumsum([0, *(part.rows for part in screened)]).tolist()
        left = [part for part in screened if part.split >= done.split]
        tasks = ((part.split, "release_screened", (part.spool, *done.of(part.split))) for part in left)
        for part, result in zip(left, self._in_order(tasks), strict=True):
            for piece in result.pieces:
                yield part.split, piece.moved(before[part.split])
            with suppress(FileNotFoundError):
                Path(part.spool).unlink()

    def _unique(
        self, splits: Iterable[Split], task: Callable[[Split], tuple[str, tuple[int, ...]] | None]
    ) -> Iterator[SplitResult]:
        """Results in order, those with a record id that came before done again without it."""
        seen = SeenIds()
        given = deque[tuple[Split, str, tuple[int, ...]]]()

        def tasks() -> Iterator[Task]:
            for split in self._clock.reading(splits):
                if (wanted := task(split)) is not None:
                    given.append((split, *wanted))
                    yield split.number, wanted[0], ((split,), None, *wanted[1])

        for result in self._in_order(tasks()):
            split, name, more = given.popleft()
            with self._clock.post():
                doubled = doubled_in(result.ids, seen)
            if name == "ids":
                continue
            if len(doubled):
                yield self._result(self._pool.submit(split.number, name, ((split,), doubled, *more)))
            else:
                yield result

    def _in_order(self, tasks: Iterator[Task]) -> Iterator[SplitResult]:
        """The tasks' results in the order of the tasks, with so many under way as the pool asks for."""
        waiting = deque[Future[Any]]()
        for task in tasks:
            waiting.append(self._pool.submit(*task))
            if len(waiting) >= self._pool.ahead:
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _result(self, future: Future[Any]) -> SplitResult:
        with self._clock.waiting():
            result: SplitResult | Exception = future.result()
        if isinstance(result, Exception):
            raise result
        self._clock.add_work(result.effort.pre_ns, result.effort.pure, result.effort.post_ns)
        self.efforts.append(result.effort)
        return result
