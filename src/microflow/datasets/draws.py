"""Random draws by seed, and the values that columns are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "TRUTH_SCHEMA", "Draws", "Flags", "Floats", "Integers", "Page", "category", "code_column", "granted_or_none",
    "iso_days", "maybe",
]  # fmt: skip

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_BASE32 = np.frombuffer(b"ABCDEFGHJKMNPQRSTVWXYZ0123456789", np.uint8)
_CODE_LENGTH = 12
_CODE_SHIFTS = np.arange(0, 5 * _CODE_LENGTH, 5, dtype=np.uint64)


class Draws:
    """One stream of random numbers (PCG64) and the columns made of it; every method draws for ``rows`` rows."""

    def __init__(self, sequence: np.random.SeedSequence, rows: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(sequence))
        self.rows = rows

    def of(self, rows: int) -> Draws:
        """Stream of the same generator for another number of rows."""
        other = object.__new__(Draws)
        other.rng, other.rows = self.rng, rows
        return other

    def uniform(self) -> Floats:
        """Numbers from 0 up to 1."""
        return self.rng.random(self.rows)

    def below(self, limit: int) -> Integers:
        """Random whole numbers from 0 up to ``limit``, exclusive."""
        return self.rng.integers(0, limit, self.rows)

    def hits(self, share: float) -> Flags:
        """True in this share of the rows."""
        return self.uniform() < share

    def weighted(self, weights: Sequence[float]) -> Integers:
        """Positions, as often as their weights say."""
        positions: Integers = np.searchsorted(_cumulative(tuple(weights)), self.uniform(), side="right")
        return positions

    def grouped(self, groups: Integers, weights: Floats) -> Integers:
        """Positions by a table of weights (groups × positions): a draw that depends on another column."""
        cumulative = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
        drawn: Integers = (self.uniform()[:, None] >= cumulative[groups, :-1]).sum(axis=1)
        return drawn

    def lognormal(self, median: Floats | float, spread: float) -> Floats:
        """Amounts around a median, most below and some far above it."""
        return median * np.exp(spread * self.rng.standard_normal(self.rows))

    def days(self, first: date, last: date) -> pa.Array:
        """ISO dates, both ends included."""
        return iso_days(first, last).take(pa.array(self.below((last - first).days + 1)))

    def codes(self, population: int | None = None, *, salt: int = 0) -> pa.Array:
        """Random keys of 60 bits; with a ``population``, keys of that many members that come back again and again."""
        numbers = self.rng.integers(0, 2**63 if population is None else population, self.rows).astype(np.uint64)
        return code_column(numbers if population is None else _mixed(numbers + np.uint64(salt << 32)))

    def digits(self, width: int) -> list[str]:
        """Numbers of exactly ``width`` digits, as text."""
        matrix = self.rng.integers(48, 58, (self.rows, width), dtype=np.uint8)
        return [row.tobytes().decode() for row in matrix]

    def words(self, words: Sequence[T]) -> list[T]:
        """One of the words (or of anything) for each row, all equally likely."""
        return [words[i] for i in self.below(len(words)).tolist()]


def code_column(numbers: npt.NDArray[np.uint64]) -> pa.Array:
    """The low 60 bits of each number as twelve characters of base 32 (Crockford's without look-alikes)."""
    text = _BASE32[((numbers[:, None] >> _CODE_SHIFTS) & np.uint64(31)).astype(np.intp)]
    offsets = np.arange(0, text.size + 1, _CODE_LENGTH, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014): a bijection that scatters numbers that follow each other."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@cache
def _cumulative(weights: tuple[float, ...]) -> Floats:
    total = np.cumsum(np.asarray(weights, np.float64))
    shares: Floats = total / total[-1]
    return shares[:-1]


@cache
def iso_days(first: date, last: date) -> pa.Array:
    """Every day from first to last as ISO text."""
    return pa.array([(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)], pa.string())


def category(words: Sequence[str], positions: Integers) -> pa.Array:
    """Words by position."""
    return pa.array(words, pa.string()).take(pa.array(positions))


def maybe(column: pa.Array, present: Flags) -> pa.Array:
    """Column with its values where ``present``, and null elsewhere."""
    return pc.if_else(pa.array(present), column, pa.scalar(None, column.type))


def granted_or_none(draws: Draws, needed: Flags) -> pa.Array:
    """Consent granted where it is needed, and by half of the others."""
    return maybe(pa.repeat("granted", draws.rows), needed | draws.hits(0.5))


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
        none = pa.RecordBatch.from_pylist([], schema=TRUTH_SCHEMA)
        return table.sort_by(order).combine_chunks().to_batches()[0] if len(table) else none

    def append_sentences(
        self, rule: str, name: str, rows: Integers, sentences: Sequence[str], values: Sequence[str]
    ) -> None:
        """Add to each text a sentence with a value in place of its ``{}``, and note where the value stands."""
        filled = [sentence.format(value) for sentence, value in zip(sentences, values, strict=True)]
        inside = np.array([sentence.index("{") for sentence in sentences], np.int64)
        starts = self.append_text(name, rows, filled) + inside
        self.note(rule, name, rows, starts, starts + [len(value) for value in values])

    def append_text(self, name: str, rows: Integers, additions: Sequence[str]) -> Integers:
        """Add a sentence to each text (null counts as empty); returns where it begins, in code points."""
        old = self.columns[name].take(pa.array(rows)).to_pylist()
        bases = [f"{text} " if text else "" for text in old]
        self.put(name, rows, [base + addition for base, addition in zip(bases, additions, strict=True)])
        return np.array([len(base) for base in bases], np.int64)
