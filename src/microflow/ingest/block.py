"""What every reader hands on: rows by column and the place each came from, rows it refused, columns it must find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError

__all__ = ["BLOCK_ROWS", "Block", "Refusal", "Refusals", "require_columns"]

#: Rows converted at a time: enough for vectorised casts, little enough for memory.
BLOCK_ROWS = 20_000
#: Characters of raw text and of a file's own names that a refusal keeps.
_MOST_RAW = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """``lines`` (int64) are line numbers in text, row numbers in Parquet, from 1; ``columns`` by name, equally long.

    A column is text (null is missing) where the format has no types, and anything that casts where it has.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]


class Refusal(NamedTuple):
    """A row that cannot be used. ``line`` counts from 1; ``column`` is empty where the whole row is at fault."""

    line: int
    column: str
    reason: str
    raw: str


@dataclass(slots=True)
class Refusals:
    """Collects refused rows for `microflow.ingest.quarantine`; their raw text only where ``keep_raw`` asks for it."""

    keep_raw: bool = False
    rows: list[Refusal] = field(default_factory=list)

    def add(self, line: int, column: str, reason: str, raw: str = "") -> None:
        """Refuse one row."""
        self.rows.append(Refusal(line, column[:80], reason, raw[:_MOST_RAW] if self.keep_raw else ""))

    def take(self) -> list[Refusal]:
        """What was collected since the last call, in the order of lines."""
        taken, self.rows = self.rows, []
        return sorted(taken, key=lambda refusal: refusal.line)


def require_columns(found: Sequence[str], names: Sequence[str], place: Path | str, *, header: bool = False) -> None:
    """See that a file has the columns ``names``, each once, in any order; ``header``: they stand in its first line.

    Raises:
        InputError: one occurs twice, is missing, or is not among those described.
    """
    what, line = ("the header", 1) if header else ("the file", None)
    expected = f"the schema describes: {', '.join(names[:50])}"
    if doubled := [name for name, times in Counter(found).items() if times > 1]:
        raise InputError(f"{what} names it twice", path=place, line=line, column=min(doubled)[:80])
    present, described = set(found), set(names)
    if absent := [name for name in names if name not in present]:
        raise InputError(f"{what} lacks it", path=place, line=line, column=absent[0], hint=expected)
    if unknown := [name for name in found if name not in described]:
        raise InputError(
            "the schema does not describe it", path=place, line=line, column=unknown[0][:80], hint=expected
        )
