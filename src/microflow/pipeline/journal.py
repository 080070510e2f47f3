"""Journal of a job's progress: in memory only, or in PostgreSQL with the results of each piece.

A row's fate (released or suppressed) may be known later than its violations: a stream method holds rows back. The
database's journal keeps flagged rows until then, and nothing about the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.compliance.findings import Target
from microflow.engine.split_work import Piece
from microflow.errors import CheckpointError
from microflow.store.progress import JobProgress, JobStatus, array_literal, json_document

if TYPE_CHECKING:
    from microflow.store.jobs import JobStore, JobView

__all__ = ["DatabaseJournal", "MemoryJournal"]

#: The span and the names of a violation, as columns, one entry a target.
_DESCRIBED = ("rule", "field", "severity", "regulation", "article")
#: The columns of `Piece.microflows`.
_COUNTED = ("rows_in", "released", "suppressed", "violations", "pure_ns")
_SMALLINT_MAX = 2**15 - 1


class MemoryJournal:
    """Journal in memory: counts only, so that a job cannot be resumed. Also the contract of every journal."""

    is_resumable = False
    #: The number of this attempt at the job.
    attempt = 0
    #: What the whole output hashes to, where an earlier attempt had written all of it.
    finished: str | None = None

    def __init__(self) -> None:
        self.progress = JobProgress()
        #: Where the job's files and its splits stood at the last commit of an earlier attempt.
        self.settled: dict[str, Any] = {}
        #: Nanoseconds of each commit, and of the pure processing that it commits.
        self.costs: list[tuple[int, int]] = []

    def repeated(self, piece: Piece) -> None:
        """A piece that an earlier attempt committed has been processed again, to get back to where it was."""
        raise NotImplementedError  # pragma: no cover - nothing is ever committed here

    def add(self, piece: Piece) -> None:
        """A piece has been processed and given to the output."""
        self.progress = self.progress.after(piece.microflows, piece.refused)

    def commit(self, settled: dict[str, Any]) -> bool:  # noqa: ARG002 - the contract's signature
        """The files are on the disk as ``settled`` says; true if somebody asked the job to stop."""
        return False

    def finishing(self, output_sha256: str) -> None:
        """Every row is committed; next the output, which hashes to this, is put in place."""

    def put_in_place(self, put: Callable[[], None]) -> None:
        """Put the files in their places while the job is this attempt's."""
        put()

    def complete(self, metrics: dict[str, Any]) -> None:
        """The output is in place."""

    def fail(self, status: JobStatus, error: str) -> None:
        """The job stops early; ``error`` holds no personal data."""


class DatabaseJournal(MemoryJournal):
    """Journal in PostgreSQL: commits rows, violations and progress together, and records the cost.

    Args:
        jobs: The store; the job is locked by this process.
        view: The job as it stands.
        targets: What `Findings.targets` index.
        anonymized: Whether the method changes rows at all.
    """

    is_resumable = True

    def __init__(self, jobs: JobStore, view: JobView, targets: Sequence[Target], *, anonymized: bool) -> None:
        super().__init__()
        self.progress, self.settled = jobs.progress(view.id)
        self.attempt = jobs.fence
        self.finished = view.output_sha256 if view.total_rows is not None else None
        self._jobs, self._job_id, self._anonymized = jobs, view.id, anonymized
        self._rules = [target.rule.id for target in targets]
        violations = [target.violation() for target in targets]
        self._described = {
            name: pa.array([getattr(violation, name) for violation in violations]) for name in _DESCRIBED
        }
        self._flagged: dict[int, tuple[int, str]] = {}
        self._tables: dict[str, list[pa.Table]] = {}
        self._pure_ns = 0
        self._expected = self.progress
        self._repeated = JobProgress()

    def repeated(self, piece: Piece) -> None:
        """Check that it went as before.

        Raises:
            CheckpointError: it did not.
        """
        self._flag(piece)
        self._fates(piece)
        self._repeated = now = self._repeated.after(piece.microflows, piece.refused)
        if now.microflows == self._expected.microflows and now.rows_released != self._expected.rows_released:
            raise CheckpointError(
                "the job does not repeat itself: other rows are released than before", hint="run the job again"
            )

    def add(self, piece: Piece) -> None:
        if len(piece.microflows):
            self._flag(piece)
            self._put("data_records", self._fates(piece))
            self._put("violations", self._violations(piece))
            if piece.original is not None:
                ordinals = np.arange(piece.first_row, piece.first_row + piece.original.num_rows)
                documents = pa.array(_documents(piece.original), pa.string())
                self._put("original_records", pa.table({"ordinal": ordinals, "original_data": documents}))
            self._put("checkpoints", self._checkpoints(piece))
            self._pure_ns += int(piece.microflows[:, 4].sum())
        super().add(piece)

    def commit(self, settled: dict[str, Any]) -> bool:
        if not self._tables and self.progress == self._expected:
            return False
        tables = {name: pa.concat_tables(tables) for name, tables in self._tables.items()}
        started = time.perf_counter_ns()
        cancelled = self._jobs.commit(self._job_id, tables, self.progress, settled)
        self.costs.append((time.perf_counter_ns() - started, self._pure_ns))
        self._tables, self._pure_ns, self._expected = {}, 0, self.progress
        return cancelled

    def finishing(self, output_sha256: str) -> None:
        self._jobs.finishing(self._job_id, rows_quarantined=self.progress.rows_quarantined, sha256=output_sha256)

    def put_in_place(self, put: Callable[[], None]) -> None:
        self._jobs.put_in_place(self._job_id, put)

    def complete(self, metrics: dict[str, Any]) -> None:
        self._jobs.complete(self._job_id, metrics)

    def fail(self, status: JobStatus, error: str) -> None:
        self._jobs.fail(self._job_id, status, error)

    def _put(self, name: str, table: pa.Table) -> None:
        signed = table.append_column("job_id", _same(self._job_id, len(table)))
        self._tables.setdefault(name, []).append(signed)

    def _checkpoints(self, piece: Piece) -> pa.Table:
        counts = dict(zip(_COUNTED, map(np.ascontiguousarray, piece.microflows.T), strict=True))
        first, rows_in = self.progress.microflows, counts["rows_in"]
        numbers = np.arange(first, first + len(rows_in))
        return pa.table({"microflow": numbers, "first_row": piece.first_row + np.cumsum(rows_in) - rows_in, **counts})

    def _flag(self, piece: Piece) -> None:
        """Remember the violations of each flagged row: how many, and which rules as an array of PostgreSQL's."""
        rows, targets = piece.findings.rows, piece.findings.targets
        if not len(rows):
            return
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        ends = [*begins[1:].tolist(), len(rows)]
        broken = targets.tolist()
        for row, begin, end in zip(rows[begins].tolist(), begins.tolist(), ends, strict=True):
            names = array_literal(tuple(sorted({self._rules[target] for target in broken[begin:end]})))
            self._flagged[piece.first_row + row] = end - begin, names

    def _fates(self, piece: Piece) -> pa.Table:
        """A row of ``data_records`` for every input row whose fate this piece decides, in input order."""
        ordinals = np.concatenate([piece.ordinals, piece.suppressed])
        order = np.argsort(ordinals, kind="stable")
        ordinals, released = ordinals[order], order < len(piece.ordinals)
        counts, types = self._known(ordinals)
        columns: dict[str, Any] = {
            "ordinal": ordinals,
            "released": released,
            "compliance_status": counts == 0,
            "violation_count": counts,
            "violation_types": types,
            "anonymization_applied": released & self._anonymized,
            "processing_time": _same(datetime.now(UTC), len(ordinals)),
        }
        if piece.released is not None:
            written = [*_documents(piece.released), *[None] * len(piece.suppressed)]
            columns["processed_data"] = pa.array([written[place] for place in order.tolist()], pa.string())
        return pa.table(columns)

    def _known(self, ordinals: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int16], pa.Array]:
        """Count and names of the violations of these rows (ascending), which are then forgotten."""
        counts = np.zeros(len(ordinals), np.int16)
        if not self._flagged:
            return counts, pa.nulls(len(ordinals), pa.string())
        types: list[str | None] = [None] * len(ordinals)
        flagged = np.fromiter(self._flagged, np.int64, len(self._flagged))
        places = np.searchsorted(ordinals, flagged)
        for ordinal, place in zip(flagged.tolist(), places.tolist(), strict=True):
            if place < len(ordinals) and ordinals[place] == ordinal:
                count, types[place] = self._flagged.pop(ordinal)
                counts[place] = min(count, _SMALLINT_MAX)
        return counts, pa.array(types, pa.string())

    def _violations(self, piece: Piece) -> pa.Table:
        found = piece.findings
        columns = {name: values.take(pa.array(found.targets)) for name, values in self._described.items()}
        ordinals = found.rows.astype(np.int64) + piece.first_row
        return pa.table({"ordinal": ordinals, **columns, "span_start": found.starts, "span_end": found.ends})


def _same(value: object, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def _documents(rows: pa.RecordBatch) -> list[str | None]:
    return [json_document(row) for row in rows.to_pylist()]
