"""Microflows as single rows: how they travel to Spark's workers and how results travel back.

A row of Spark's is a whole microflow, its rows an Arrow stream in a binary column. So every partition is a multiple of
the microflow by construction, no engine setting can cut one, and Spark moves bytes that both sides read without
conversion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat, takewhile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from microflow.compliance import Findings
from microflow.microflows import Microflow
from microflow.processors.contract import Processed
from microflow.processors.kernel import Place, Screened

__all__ = [
    "RESULT",
    "SCREENED",
    "STAGED",
    "Laid",
    "lay",
    "pack",
    "pack_findings",
    "parcels",
    "pick_up",
    "stage",
    "unpack",
    "unpack_findings",
    "unpack_result",
]

#: Microflows in a staged file, which is a Spark partition: a small job is shared out too, and a large one has not more
#: tasks than it takes to hide their fixed cost.
_FIRST_PARTS, PER_PART = (4, 4, 8, 8, 16, 16), 25

_PLACE = [("number", pa.int64()), ("first_row", pa.int64())]
_BOOKS = [("rows_in", pa.int64()), ("findings", pa.binary()), ("pure_ns", pa.int64()), ("worker", pa.string())]
STAGED = pa.schema([*_PLACE, ("rows", pa.binary())])
#: After the first of two passes. ``kept`` are int64 positions; the row numbered -1 carries a partition's ``counts``.
SCREENED = pa.schema([*_PLACE, *_BOOKS, ("rows", pa.binary()), ("kept", pa.binary()), ("counts", pa.binary())])
#: The end. ``ordinals`` and ``suppressed`` are int64 arrays; ``worker`` is the process that measured ``pure_ns``.
RESULT = pa.schema(
    [*_PLACE, *_BOOKS, ("released", pa.binary()), ("ordinals", pa.binary()), ("suppressed", pa.binary())]
)

_FINDINGS = pa.schema([("rows", pa.int32()), ("targets", pa.int16()), ("starts", pa.int32()), ("ends", pa.int32())])


def stage(source: Iterable[Microflow], folder: Path) -> None:
    """Lay microflows aside as Parquet files that Spark reads as one partition each; the source is read once."""
    folder.mkdir(parents=True)
    flows = iter(source)
    sizes = chain(_FIRST_PARTS, repeat(PER_PART))
    parts = takewhile(len, (list(islice(flows, size)) for size in sizes))
    for part, flows_of_part in enumerate(parts):
        columns = {
            "number": [flow.number for flow in flows_of_part],
            "first_row": [flow.first_row for flow in flows_of_part],
            "rows": [pack(flow.rows) for flow in flows_of_part],
        }
        pq.write_table(pa.table(columns, STAGED), folder / f"part-{part:06d}.parquet", compression="lz4")


def parcels(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows that Spark wrote, in the order of their microflows, a few in memory at a time.

    Each file holds one staged part's microflows in order; Spark only decides which file is whose.
    """
    for file in sorted(folder.glob("part-*.parquet"), key=_first_number):
        for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=4):
            yield from batch.to_pylist()


def pack(rows: pa.RecordBatch) -> bytes:
    """A batch as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def unpack(packed: bytes) -> pa.RecordBatch:
    """The batch of an Arrow stream; it shares memory with ``packed``."""
    with pa.ipc.open_stream(packed) as reader:
        return reader.read_next_batch()


def pack_findings(found: Findings) -> bytes:
    """Findings as an Arrow stream."""
    return pack(pa.RecordBatch.from_arrays([found.rows, found.targets, found.starts, found.ends], schema=_FINDINGS))


def unpack_findings(packed: bytes, checked: int) -> Findings:
    """What `pack_findings` packed."""
    return Findings(checked, *(column.to_numpy() for column in unpack(packed).columns))


def unpack_result(row: dict[str, Any]) -> Processed:
    """One row of `RESULT`."""
    return Processed(
        number=row["number"],
        first_row=row["first_row"],
        rows_in=row["rows_in"],
        released=unpack(row["released"]),
        ordinals=np.frombuffer(row["ordinals"], np.int64),
        suppressed=np.frombuffer(row["suppressed"], np.int64),
        findings=unpack_findings(row["findings"], row["rows_in"]),
        pure_ns=row["pure_ns"],
    )


@dataclass(frozen=True, slots=True)
class Laid:
    """A screened microflow that waits for the second pass, and the nanoseconds spent on it so far."""

    place: Place
    screened: Screened
    pure_ns: int


def lay(writer: pa.ipc.RecordBatchStreamWriter, laid: Laid) -> None:
    """Append one microflow to an Arrow stream; everything but its rows travels as the batch's metadata."""
    place, screened = laid.place, laid.screened
    numbers = np.array([place.number, place.first_row, place.rows_in, laid.pure_ns], np.int64)
    books = {
        "numbers": numbers.tobytes(),
        "kept": screened.kept.tobytes(),
        "findings": pack_findings(screened.findings),
    }
    writer.write_batch(screened.rows, custom_metadata=books)


def pick_up(spool: IO[bytes]) -> Iterator[Laid]:
    """What `lay` appended, in order, one microflow in memory at a time."""
    spool.seek(0)
    with pa.ipc.open_stream(spool) as reader:
        while True:
            try:
                rows, books = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            number, first_row, rows_in, pure_ns = np.frombuffer(books[b"numbers"], np.int64).tolist()
            findings = unpack_findings(books[b"findings"], rows_in)
            screened = Screened(rows, np.frombuffer(books[b"kept"], np.int64), findings)
            yield Laid(Place(number, first_row, rows_in), screened, pure_ns)


def _first_number(file: Path) -> int:
    numbers = pq.read_table(file, columns=["number"])["number"]
    return min((number for number in numbers.to_pylist() if number >= 0), default=-1)
