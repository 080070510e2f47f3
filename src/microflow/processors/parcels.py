"""Microflows laid aside: the parcels of a Spark job, and the spool in which the local engine's second pass finds them.

A parcel is a file, an Arrow stream in which a batch is a microflow; whatever belongs to one beside its rows travels as
the batch's metadata. So every parcel is a multiple of the microflow by construction, and nothing can cut one. Spark
itself sees the parcels' numbers alone: who takes which, and again where it fails, is its part; the bytes go from file
to worker to file without passing through the JVM.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.compliance import Findings
from microflow.ingest.writers import private
from microflow.microflows import Microflow
from microflow.processors.contract import Processed
from microflow.processors.kernel import Screened
from microflow.processors.morsels import Place, Places, portions
from microflow.processors.reading import Part
from microflow.settings import MORSEL

__all__ = ["Laid", "batches_of", "lay", "pick_up", "put", "read", "results", "stage", "staged", "written"]

#: Microflows in the first parcels, so that a small job is shared out too. Each further one is a morsel.
_FIRST_PARCELS = (4, 4, 8, 8, 16, 16)

Books = dict[bytes, bytes]
_FINDINGS = {"rows": np.int32, "targets": np.int16, "starts": np.int32, "ends": np.int32}


@contextmanager
def written(folder: Path, number: int, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchStreamWriter]:
    """Write a parcel; it appears when it is complete, and a second one of the same number takes its place."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{number:06d}-{uuid.uuid4().hex}"
    with private(unfinished) as file, pa.ipc.new_stream(file, schema) as writer:
        yield writer
    unfinished.replace(_parcel(folder, number))


def read(folder: Path, number: int) -> Iterator[tuple[pa.RecordBatch, Books]]:
    """The batches of a parcel in order, one in memory at a time, with their metadata."""
    with pa.OSFile(str(_parcel(folder, number))) as file:
        yield from batches_of(file)


def _parcel(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.arrow"


def batches_of(file: IO[bytes] | pa.NativeFile) -> Iterator[tuple[pa.RecordBatch, Books]]:
    """The same of an open stream."""
    with pa.ipc.open_stream(file) as reader:
        while True:
            try:
                rows, books = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            yield rows, dict(books or {})


def stage(source: Iterable[Microflow], folder: Path) -> int:
    """Lay the source aside as parcels numbered from 0, and say how many; it is read once."""
    count = 0
    for number, contents in enumerate(portions(source, chain(_FIRST_PARCELS, repeat(MORSEL)))):
        with written(folder, number, contents[0].rows.schema) as writer:
            for flow in contents:
                writer.write_batch(flow.rows, custom_metadata=_books((Place.of(flow),)))
        count = number + 1
    return count


def staged(folder: Path, number: int) -> Iterator[Microflow]:
    """The microflows of one parcel, as they were staged."""
    for rows, books in read(folder, number):
        (place,), _ = _places(books)
        yield Microflow(place.number, place.first_row, rows)


@dataclass(frozen=True, slots=True)
class Laid:
    """A screened morsel that waits for the second pass, and the nanoseconds spent on it so far."""

    places: Places
    screened: Screened
    pure_ns: int


def lay(writer: pa.ipc.RecordBatchStreamWriter, laid: Laid, refused: int = 0, text: bytes | Part = b"") -> None:
    """Append one screened morsel, and what says, here or in a file, which rows before its last were refused."""
    screened = laid.screened
    books = _books(laid.places, laid.pure_ns, kept=screened.kept) | _findings(screened.findings)
    books |= {"refused": str(refused).encode()}
    if isinstance(text, Part):
        books |= {"refused_file": os.fsencode(text.path), "refused_bytes": str(text.stop).encode()}
    else:
        books |= {"quarantine": text}
    writer.write_batch(screened.rows, custom_metadata=books)


def pick_up(batches: Iterable[tuple[pa.RecordBatch, Books]]) -> Iterator[tuple[Laid, int, bytes | Part]]:
    """What `lay` appended, in order: ``batches`` are those of a spool or of a parcel."""
    for rows, books in batches:
        places, pure_ns = _places(books)
        found = _found(books, sum(place.rows_in for place in places))
        laid = Laid(places, Screened(rows, _integers(books, b"kept"), found), pure_ns)
        yield laid, int(books[b"refused"]), _refused(books)


def _refused(books: Books) -> bytes | Part:
    if b"refused_file" not in books:
        return books[b"quarantine"]
    return Part(os.fsdecode(books[b"refused_file"]), 0, int(books[b"refused_bytes"]), last=True)


def put(writer: pa.ipc.RecordBatchStreamWriter, result: Processed, worker: str) -> None:
    """Append one processed microflow; ``worker`` is the process that measured its pure time."""
    place = Place(result.number, result.first_row, result.rows_in)
    books = _books((place,), result.pure_ns, ordinals=result.ordinals, suppressed=result.suppressed)
    books |= _findings(result.findings) | {"worker": worker.encode()}
    writer.write_batch(result.released, custom_metadata=books)


def results(folder: Path, parcels: int) -> Iterator[tuple[Processed, str]]:
    """What workers `put` into so many parcels, in the order of the source, and who did it."""
    for rows, books in chain.from_iterable(read(folder, number) for number in range(parcels)):
        (place,), pure_ns = _places(books)
        ordinals, suppressed = _integers(books, b"ordinals"), _integers(books, b"suppressed")
        found = _found(books, place.rows_in)
        result = Processed(place.number, place.first_row, place.rows_in, rows, ordinals, suppressed, found, pure_ns)
        yield result, books[b"worker"].decode()


def _books(places: Places, pure_ns: int = 0, **integers: npt.NDArray[np.int64]) -> dict[str, bytes]:
    where = np.array([(place.number, place.first_row, place.rows_in) for place in places], np.int64)
    named = {"places": where, "pure_ns": np.array([pure_ns], np.int64), **integers}
    return {name: values.tobytes() for name, values in named.items()}


def _places(books: Books) -> tuple[Places, int]:
    where = _integers(books, b"places").reshape(-1, 3).tolist()
    return tuple(Place(*one) for one in where), int(_integers(books, b"pure_ns")[0])


def _integers(books: Books, name: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(books[name], np.int64)


def _findings(found: Findings) -> dict[str, bytes]:
    return {name: getattr(found, name).tobytes() for name in _FINDINGS}


def _found(books: Books, checked: int) -> Findings:
    columns = (np.frombuffer(books[name.encode()], kind) for name, kind in _FINDINGS.items())
    return Findings(checked, *columns)
