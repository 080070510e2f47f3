"""What a check says: which rule was broken where, and never the value that broke it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Findings", "Violation"]


class Violation(NamedTuple):
    """One broken rule in one field of one record.

    ``start`` and ``end`` are code point offsets of the span inside a free text field, or -1 where the rule is about
    the whole field.
    """

    rule: str
    field: str
    severity: str
    regulation: str
    article: str
    start: int = -1
    end: int = -1


@dataclass(frozen=True, slots=True)
class Findings:
    """The violations of one microflow, as columns: entry ``i`` of each array describes one violation.

    ``rows`` (int32) are positions in the batch, ascending; ``targets`` (int16) index the checker's table of
    (rule, field) pairs; ``starts`` and ``ends`` (int32) are code point spans or -1. ``checked`` is the batch's length.
    """

    checked: int
    rows: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int16]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def flagged(self) -> npt.NDArray[np.int32]:
        """Positions of the rows with at least one violation, ascending, each once."""
        return np.unique(self.rows)

    def cut(self, first: int, last: int, row: int, checked: int) -> Findings:
        """Entries ``first`` to before ``last``, as those of a batch of ``checked`` rows that began at ``row``."""
        mine = slice(first, last)
        rows = self.rows[mine] - np.int32(row)
        return Findings(checked, rows, self.targets[mine], self.starts[mine], self.ends[mine])

    @classmethod
    def none(cls, checked: int) -> Findings:
        """The findings of a batch without a violation."""
        empty = np.empty(0, np.int32)
        return cls(checked, empty, np.empty(0, np.int16), empty, empty)
