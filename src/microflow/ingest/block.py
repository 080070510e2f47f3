"""What every reader hands on: rows by column, and the place each came from; and the columns it must find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError

__all__ = ["BLOCK_ROWS", "Block", "require_columns"]

#: Rows converted at a time: enough for vectorised casts, little enough for memory.
BLOCK_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Block:
    """``lines`` (int64) are line numbers in text, row numbers in Parquet, from 1; ``columns`` by name, equally long.

    A column is text (null is missing) where the format has no types, and anything that casts where it has.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]


def require_columns(found: Sequence[str], names: Sequence[str], place: Path | str, *, header: bool = False) -> None:
    """See that a file has the columns ``names``, each once, in any order; ``header``: they stand in its first line.

    Raises:
        InputError: one occurs twice, is missing, or is not among those described.
    """
    what, line = ("the header", 1) if header else ("the file", None)
    expected = f"the schema describes: {', '.join(names)}"
    if doubled := {name for name in found if found.count(name) > 1}:
        raise InputError(f"{what} names it twice", path=place, line=line, column=min(doubled))
    if absent := [name for name in names if name not in found]:
        raise InputError(f"{what} lacks it", path=place, line=line, column=absent[0], hint=expected)
    if unknown := [name for name in found if name not in names]:
        name = unknown[0][:80]
        raise InputError("the schema does not describe it", path=place, line=line, column=name, hint=expected)
