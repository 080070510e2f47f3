"""What is written down about each microflow: its results as columns of the database's tables.

A row's fate (released or suppressed) may be known later than its violations: a stream method holds rows back. The
ledger remembers flagged rows until then, and nothing about the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.compliance.targets import Target
from microflow.microflows import Microflow
from microflow.processors import Processed
from microflow.store.bulk import array_literal, document
from microflow.store.jobs import CommitGroup, Progress

__all__ = ["Ledger", "counts_of"]

#: The span and the names of a violation, as columns, one entry a target.
_DESCRIBED = ("rule", "field", "severity", "regulation", "article")
_SMALLINT_MAX = 2**15 - 1


@dataclass
class _Pages:
    """Columns of the microflows since the last commit, by table."""

    checkpoints: list[dict[str, int]] = field(default_factory=list)
    data_records: list[pa.Table] = field(default_factory=list)
    violations: list[pa.Table] = field(default_factory=list)
    original_records: list[pa.Table] = field(default_factory=list)


class Ledger:
    """Collects `Processed` microflows of one job and hands them over as `CommitGroup`.

    Args:
        job_id: Named in every row.
        targets: What `Findings.targets` index.
        anonymized: Whether the method changes rows at all.
        keep_processed: Whether released rows are stored too.
        progress: What had been committed before.
    """

    def __init__(
        self, job_id: str, targets: Sequence[Target], *, anonymized: bool, keep_processed: bool, progress: Progress
    ) -> None:
        self._job_id = job_id
        self._rules = [target.rule.id for target in targets]
        violations = [target.violation() for target in targets]
        self._described = {name: pa.array([getattr(one, name) for one in violations]) for name in _DESCRIBED}
        self._anonymized = anonymized
        self._keep_processed = keep_processed
        self._flagged: dict[int, tuple[int, str]] = {}
        self._pages = _Pages()
        self.progress = progress

    def __len__(self) -> int:
        """Microflows waiting to be committed."""
        return len(self._pages.checkpoints)

    def remember(self, done: Processed) -> None:
        """Note the violations of a microflow that was committed earlier, for rows whose fate comes later."""
        self._flag(done)
        self._fates(done)

    def add(self, done: Processed, original: Microflow | None = None) -> None:
        """Write one microflow down; ``original`` are its rows as they were read, where they are to be kept."""
        self._flag(done)
        self._pages.data_records.append(self._fates(done))
        self._pages.violations.append(self._violations(done))
        if original is not None:
            self._pages.original_records.append(self._originals(original))
        counts = counts_of(done)
        self._pages.checkpoints.append(
            {"microflow": done.number, "first_row": done.first_row, **counts, "pure_ns": done.pure_ns}
        )
        self.progress = self.progress.after(**counts)

    def take(self, output_bytes: int) -> CommitGroup:
        """Everything since the last call, to be committed with the output's length on disk; starts a new page."""
        pages, self._pages = self._pages, _Pages()
        checkpoints = pa.Table.from_pylist(pages.checkpoints)
        return CommitGroup(
            checkpoints=self._signed(checkpoints.append_column("output_bytes", _same(output_bytes, len(checkpoints)))),
            data_records=pa.concat_tables(pages.data_records),
            violations=pa.concat_tables(pages.violations),
            original_records=pa.concat_tables(pages.original_records) if pages.original_records else None,
            progress=self.progress,
        )

    def _flag(self, done: Processed) -> None:
        rules: dict[int, list[str]] = defaultdict(list)
        for row, target in zip(done.findings.rows.tolist(), done.findings.targets.tolist(), strict=True):
            rules[row].append(self._rules[target])
        for row, broken in rules.items():
            self._flagged[done.first_row + row] = len(broken), array_literal(tuple(sorted(set(broken))))

    def _fates(self, done: Processed) -> pa.Table:
        """A row of ``data_records`` for every input row whose fate this microflow decides, in input order."""
        ordinals = np.concatenate([done.ordinals, done.suppressed])
        order = np.argsort(ordinals, kind="stable")
        ordinals, released = ordinals[order], order < len(done.ordinals)
        counts, types = self._known(ordinals)
        columns: dict[str, pa.Array] = {
            "ordinal": pa.array(ordinals),
            "released": pa.array(released),
            "compliance_status": pa.array(counts == 0),
            "violation_count": pa.array(counts),
            "violation_types": types,
            "anonymization_applied": pa.array(released & self._anonymized),
            "processing_time": _same(datetime.now(UTC), len(ordinals)),
        }
        if self._keep_processed:
            columns["processed_data"] = pa.array(_documents(done.released, order), pa.string())
        return self._signed(pa.table(columns))

    def _known(self, ordinals: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int16], pa.Array]:
        """Count and names of the violations of these rows (ascending), which are then forgotten."""
        counts = np.zeros(len(ordinals), np.int16)
        types: list[str | None] = [None] * len(ordinals)
        flagged = np.fromiter(self._flagged, np.int64, len(self._flagged))
        places = np.searchsorted(ordinals, flagged)
        for ordinal, place in zip(flagged.tolist(), places.tolist(), strict=True):
            if place < len(ordinals) and ordinals[place] == ordinal:
                count, types[place] = self._flagged.pop(ordinal)
                counts[place] = min(count, _SMALLINT_MAX)
        return counts, pa.array(types, pa.string())

    def _violations(self, done: Processed) -> pa.Table:
        found = done.findings
        columns = {name: values.take(pa.array(found.targets)) for name, values in self._described.items()}
        ordinals = pa.array(found.rows.astype(np.int64) + done.first_row)
        spans = {"span_start": pa.array(found.starts), "span_end": pa.array(found.ends)}
        return self._signed(pa.table({"ordinal": ordinals, **columns, **spans}))

    def _originals(self, original: Microflow) -> pa.Table:
        ordinals = np.arange(original.first_row, original.first_row + len(original))
        documents = [document(row) for row in original.rows.to_pylist()]
        return self._signed(pa.table({"ordinal": ordinals, "original_data": pa.array(documents, pa.string())}))

    def _signed(self, table: pa.Table) -> pa.Table:
        return table.append_column("job_id", _same(self._job_id, len(table)))


def counts_of(done: Processed) -> dict[str, int]:
    """What a microflow adds to the totals of its job, in the words of `Progress.after`."""
    return {
        "rows_in": done.rows_in,
        "released": done.released.num_rows,
        "suppressed": len(done.suppressed),
        "violations": len(done.findings),
    }


def _same(value: object, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def _documents(released: pa.RecordBatch, order: npt.NDArray[np.int64]) -> list[str | None]:
    """Released rows as JSON. ``order`` sorts released rows followed by suppressed ones, of which nothing is kept."""
    written = [document(row) for row in released.to_pylist()]
    return [written[place] if place < len(written) else None for place in order.tolist()]
