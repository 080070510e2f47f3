"""What every reader hands on: rows by column, and the place each came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["BLOCK_ROWS", "Block"]

#: Rows converted at a time: enough for vectorised casts, little enough for memory.
BLOCK_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Block:
    """``lines`` (int64) are line numbers in text, row numbers in Parquet, from 1; ``columns`` by name, equally long.

    A column is text (null is missing) where the format has no types, and anything that casts where it has.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]
