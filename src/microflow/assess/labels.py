"""Released values as regions of a column's domain: what they may hide, how wide they are, how far a value lies away.

A released value is exact (``37``), a range, a prefix, a set or missing (see `microflow.anonymize.generalise`). Every
measure of this room is taken on the distinct labels of a column, which are few, and spread to rows by their codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.generalise import Label, parse
from microflow.schema import Column, Value

__all__ = ["Floats", "Index", "Labels", "distinct", "exactly", "label_of"]

Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Labels(Protocol):
    """The distinct labels of a column, and the label of each row."""

    codes: Index
    """Shape (rows,): which label each row has."""
    width: Floats
    """Shape (labels,): the part of the domain a label leaves open, 0 for one value to 1 for nothing told (NCP)."""
    spread: Floats
    """Shape (labels, cells): how a label's probability spreads over the cells of the domain; the last is "missing"."""
    centre: Floats
    """Shape (labels,): the middle of a numeric label, from 0 to 1 between the bounds; NaN where there is none."""

    def distance(self, values: Sequence[Value], codes: Index | None = None) -> Floats:
        """Shape (values, labels): 0 where the label covers the value, up to 1 where it says something else.

        ``codes`` asks for these labels only.
        """
        ...


def distinct(array: pa.ChunkedArray) -> tuple[Index, list[Value]]:
    """The code of each row, and the value of each code; a missing value is a value."""
    encoded = array.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: Index = encoded.indices.to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def label_of(text: Value, column: Column) -> Label:
    """The label that a released text is; a text that only looks like one is a value."""
    try:
        return parse(None if text is None else str(text), column)
    except ValueError:
        # A method that does not generalise released a text that only looks like a label.
        return exactly(str(text), column)


def exactly(text: str | None, column: Column) -> Label:
    """The label of one value as it is."""
    return Label(column, missing=True) if text is None else Label(column, exact=text)
