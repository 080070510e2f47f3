"""The spool of a two-pass method: screened morsels on disk until the equivalence classes are decided.

A spool is an Arrow stream in which a batch is a morsel; what belongs to it beside its rows travels as the batch's
metadata.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.compliance import Findings
from microflow.engine.kernel import Screened
from microflow.engine.morsels import Place, Places
from microflow.engine.reading import Part

__all__ = ["Laid", "batches_of", "lay", "pick_up"]

Books = dict[bytes, bytes]
_FINDINGS = {"rows": np.int32, "targets": np.int16, "starts": np.int32, "ends": np.int32}


@dataclass(frozen=True, slots=True)
class Laid:
    """A screened morsel that waits for the second pass, and the nanoseconds spent on it so far."""

    places: Places
    screened: Screened
    pure_ns: int


def batches_of(file: IO[bytes]) -> Iterator[tuple[pa.RecordBatch, Books]]:
    """The batches of an Arrow stream in order, one in memory at a time, with their metadata."""
    with pa.ipc.open_stream(file) as reader:
        while True:
            try:
                rows, books = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            yield rows, dict(books or {})


def lay(writer: pa.ipc.RecordBatchStreamWriter, laid: Laid, refused: int = 0, text: bytes | Part = b"") -> None:
    """Append one screened morsel, and what says, here or in a file, which rows before its last were refused."""
    screened = laid.screened
    where = np.array([(place.number, place.first_row, place.rows_in) for place in laid.places], np.int64)
    books = {"places": where, "pure_ns": np.array([laid.pure_ns], np.int64), "kept": screened.kept}
    books |= {name: getattr(screened.findings, name) for name in _FINDINGS}
    packed = {name: values.tobytes() for name, values in books.items()}
    packed |= {"refused": str(refused).encode()}
    if isinstance(text, Part):
        packed |= {"refused_file": os.fsencode(text.path), "refused_bytes": str(text.stop).encode()}
    else:
        packed |= {"quarantine": text}
    writer.write_batch(screened.rows, custom_metadata=packed)


def pick_up(batches: Iterable[tuple[pa.RecordBatch, Books]]) -> Iterator[tuple[Laid, int, bytes | Part]]:
    """What `lay` appended, in order."""
    for rows, books in batches:
        places = tuple(Place(*one) for one in _integers(books, b"places").reshape(-1, 3).tolist())
        found = (np.frombuffer(books[name.encode()], kind) for name, kind in _FINDINGS.items())
        findings = Findings(sum(place.rows_in for place in places), *found)
        screened = Screened(rows, _integers(books, b"kept"), findings)
        yield Laid(places, screened, int(_integers(books, b"pure_ns")[0])), int(books[b"refused"]), _refused(books)


def _integers(books: Books, name: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(books[name], np.int64)


def _refused(books: Books) -> bytes | Part:
    if b"refused_file" not in books:
        return books[b"quarantine"]
    return Part(os.fsdecode(books[b"refused_file"]), 0, int(books[b"refused_bytes"]), last=True)
