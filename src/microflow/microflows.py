"""The unit of everything: a numbered Arrow batch of at most 1,000 rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from microflow.settings import MICROFLOW_ROWS

__all__ = ["Microflow", "microflows"]


@dataclass(frozen=True, slots=True)
class Microflow:
    """Rows that are checked, anonymized and committed together.

    ``number`` counts microflows of a job from 0; ``first_row`` is the ordinal of the first row among the rows the
    reader accepted, so that ``first_row + i`` names row ``i`` in every engine.
    """

    number: int
    first_row: int
    rows: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def microflows(batches: Iterable[pa.RecordBatch], size: int = MICROFLOW_ROWS) -> Iterator[Microflow]:
    """Cut batches of any size into microflows of exactly ``size`` rows (the last may be shorter), in order.

    Slices share memory with their batch; rows are copied only where a microflow spans two batches.

    Raises:
        ValueError: ``size`` is not between 1 and `MICROFLOW_ROWS`.

    >>> batch = pa.record_batch({"n": list(range(5))})
    >>> [(flow.number, flow.first_row, len(flow)) for flow in microflows([batch, batch], size=4)]
    [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    """
    if not 1 <= size <= MICROFLOW_ROWS:
        raise ValueError(f"a microflow holds 1 to {MICROFLOW_ROWS} rows, not {size}")
    number = first_row = 0
    pending: list[pa.RecordBatch] = []
    missing = size
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, missing)
            pending.append(piece)
            start += piece.num_rows
            missing -= piece.num_rows
            if missing == 0:
                yield Microflow(number, first_row, _join(pending))
                number, first_row, pending, missing = number + 1, first_row + size, [], size
    if pending:
        yield Microflow(number, first_row, _join(pending))


def _join(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
