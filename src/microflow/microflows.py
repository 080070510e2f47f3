"""The unit of everything: a numbered Arrow batch of at most 1,000 rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.settings import MICROFLOW_BYTES, MICROFLOW_ROWS

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
    text_bytes: int = 0
    """Of text in the rows, where it was so much that it had to be counted."""

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def microflows(batches: Iterable[pa.RecordBatch], size: int = MICROFLOW_ROWS) -> Iterator[Microflow]:
    """Cut batches of any size into microflows of exactly ``size`` rows, in order; the last may be shorter.

    So may those be that hold more than `MICROFLOW_BYTES` of text; where they end depends on the rows alone, not on the
    batches. Slices share memory with their batch; rows are copied only where a microflow spans two batches.

    Raises:
        ValueError: ``size`` is not between 1 and `MICROFLOW_ROWS`.

    >>> batch = pa.record_batch({"n": list(range(5))})
    >>> [(flow.number, flow.first_row, len(flow)) for flow in microflows([batch, batch], size=4)]
    [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    """
    if not 1 <= size <= MICROFLOW_ROWS:
        raise ValueError(f"a microflow holds 1 to {MICROFLOW_ROWS} rows, not {size}")
    number = first_row = carried = 0
    pending: list[pa.RecordBatch] = []
    missing, room = size, MICROFLOW_BYTES
    for batch in batches:
        carried = batch.nbytes + (carried if pending else 0)
        ends = None
        if is_heavy := carried > MICROFLOW_BYTES:  # else no row needs to be looked at
            ends = np.cumsum(_text_bytes(batch))
            room = MICROFLOW_BYTES - sum(int(_text_bytes(piece).sum()) for piece in pending)
        start = 0
        while start < batch.num_rows:
            count = min(missing, batch.num_rows - start)
            if ends is not None:
                before = int(ends[start - 1]) if start else 0
                fitting = int(np.searchsorted(ends, before + room, side="right")) - start
                count = min(count, max(fitting, 0 if pending else 1))
                room -= int(ends[start + count - 1]) - before if count else 0
            if count:
                pending.append(batch.slice(start, count))
                start, missing = start + count, missing - count
            if not (count and missing):
                yield Microflow(number, first_row, _join(pending), MICROFLOW_BYTES - room if is_heavy else 0)
                number, first_row = number + 1, first_row + size - missing
                pending, missing, room = [], size, MICROFLOW_BYTES
    if pending:
        yield Microflow(number, first_row, _join(pending))


def _text_bytes(rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The bytes of text in each row."""
    total = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        if pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total


def _join(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
