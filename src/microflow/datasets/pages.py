"""One block of records while it is being written, and the truth about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.datasets.draws import Integers

__all__ = ["TRUTH_SCHEMA", "Page"]

#: One row a violation: the record's ordinal, the rule of the default policy, the field, and the code points of the
#: span where the rule looks inside text (-1 where it is about the whole field).
TRUTH_SCHEMA = pa.schema(
    [("row", pa.int64()), ("rule", pa.string()), ("field", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
)


@dataclass
class Page:
    """The columns of one block while they are being written, and the truth about them."""

    columns: dict[str, pa.Array]
    first_row: int
    _truth: list[pa.RecordBatch] = field(default_factory=list)

    def put(self, name: str, rows: Integers, values: Any) -> None:
        """Replace the values of these rows (ascending)."""
        column = self.columns[name]
        mask = np.zeros(len(column), np.bool_)
        mask[rows] = True
        new = values if isinstance(values, pa.Array) else pa.array(values, column.type)
        self.columns[name] = pc.replace_with_mask(column, pa.array(mask), new.cast(column.type))

    def note(self, rule: str, name: str, rows: Integers, starts: Any = -1, ends: Any = -1) -> None:
        """Write down that these rows break this rule in this field."""
        columns = [
            pa.array(rows + self.first_row),
            pa.array([rule] * len(rows), pa.string()),
            pa.array([name] * len(rows), pa.string()),
            pa.array(np.broadcast_to(np.asarray(starts, np.int32), len(rows))),
            pa.array(np.broadcast_to(np.asarray(ends, np.int32), len(rows))),
        ]
        self._truth.append(pa.RecordBatch.from_arrays(columns, schema=TRUTH_SCHEMA))

    def truth(self) -> pa.RecordBatch:
        """All that was noted, by row, then rule, field and start."""
        table = pa.Table.from_batches(self._truth, TRUTH_SCHEMA)
        order = [(name, "ascending") for name in ("row", "rule", "field", "start")]
        return table.sort_by(order).combine_chunks().to_batches()[0] if len(table) else _NO_TRUTH

    def append_text(self, name: str, rows: Integers, additions: Sequence[str]) -> Integers:
        """Add a sentence to each text (null counts as empty); returns where it begins, in code points."""
        old = self.columns[name].take(pa.array(rows)).to_pylist()
        bases = [f"{text} " if text else "" for text in old]
        self.put(name, rows, [base + addition for base, addition in zip(bases, additions, strict=True)])
        return np.array([len(base) for base in bases], np.int64)


_NO_TRUTH = pa.RecordBatch.from_pylist([], schema=TRUTH_SCHEMA)
