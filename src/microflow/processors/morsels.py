"""Morsels: a few microflows worked on at once, where they are at hand.

A vectorised operation costs something before its first row; on a microflow of 1,000 rows that is as much as the rows
themselves. The engines that read ahead therefore hand the kernel a *morsel* (Leis et al., Morsel-Driven Parallelism,
SIGMOD 2014) of up to two dozen microflows: of 8 to 48, that was fastest. The microflow stays the unit of everything
else: of equivalence classes where a method works by it, of findings, results, commits and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat, takewhile

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.microflows import Microflow
from microflow.settings import MICROFLOW_BYTES, MORSEL

__all__ = ["Morsel", "Place", "Places", "ends_of", "morsels", "portions"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a microflow stands in its job, without its rows."""

    number: int
    first_row: int
    rows_in: int

    @classmethod
    def of(cls, flow: Microflow) -> Place:
        """The place of a microflow."""
        return cls(flow.number, flow.first_row, len(flow))


#: Those of a morsel, in order.
Places = tuple[Place, ...]


def ends_of(places: Places) -> npt.NDArray[np.int64]:
    """For each microflow of a morsel, the position behind its last row (int64, ascending).

    >>> ends_of((Place(7, 7_000, 1_000), Place(8, 8_000, 20))).tolist()
    [1000, 1020]
    """
    return np.cumsum([place.rows_in for place in places], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Morsel:
    """Microflows that follow each other, and the rows of all of them."""

    places: Places
    rows: pa.RecordBatch

    @classmethod
    def of(cls, flows: Sequence[Microflow]) -> Morsel:
        """The microflows as one; a single one is not copied."""
        rows = flows[0].rows if len(flows) == 1 else pa.concat_batches([flow.rows for flow in flows])
        return cls(tuple(map(Place.of, flows)), rows)

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def morsels(source: Iterable[Microflow], most: int = MORSEL) -> Iterator[Morsel]:
    """The source in morsels of ``most`` microflows (the last may have fewer), in order.

    >>> from microflow.microflows import microflows
    >>> flows = microflows([pa.record_batch({"n": list(range(7))})], size=2)
    >>> [len(morsel) for morsel in morsels(flows, most=3)]
    [6, 1]
    """
    return map(Morsel.of, portions(source, repeat(most)))


def portions(source: Iterable[Microflow], sizes: Iterable[int]) -> Iterator[list[Microflow]]:
    """The source in lists of these lengths, each size asked for when its turn has come, until nothing is left.

    A list that holds more than half the text that fits into a microflow is full.

    >>> flow = Microflow(0, 0, pa.record_batch({}))
    >>> [len(portion) for portion in portions([flow] * 7, [1, 4, 4, 4])]
    [1, 4, 2]
    """
    flows = iter(source)
    return takewhile(len, (_portion(flows, size) for size in sizes))


def _portion(flows: Iterator[Microflow], size: int) -> list[Microflow]:
    portion, held = list[Microflow](), 0
    for flow in islice(flows, size):
        portion.append(flow)
        held += flow.text_bytes
        if held > MICROFLOW_BYTES // 2:
            break
    return portion
