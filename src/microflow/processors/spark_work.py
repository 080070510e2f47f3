"""What Spark's workers do with parcels; imports no Spark, so that it can be tested without.

A worker compiles a specification once, however many tasks it runs. The clock of `Processed.pure_ns` is the worker's
own, started after a parcel is unpacked and stopped before its result is packed.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Released
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.kernel import BatchKernel, Place, Screened, Screening, processed
from microflow.processors.parcels import RESULT, SCREENED, STAGED, pack, pack_findings, unpack, unpack_findings

__all__ = ["Step", "anonymize_parcels", "process_parcels", "screen_parcels"]

Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
_now = time.perf_counter_ns


@dataclass(frozen=True, slots=True)
class Step:
    """One pass over parcels: the columns it reads and writes, and what ``mapInArrow`` runs in between."""

    reads: pa.Schema
    writes: pa.Schema
    work: Work


def process_parcels(spec: ProcessingSpec) -> Step:
    """The whole kernel on each parcel: for methods that release a microflow by itself."""
    packed = pickle.dumps(spec)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        kernel = _kernel(packed)
        for parcel in _parcels(batches):
            rows = unpack(parcel["rows"])
            started = _now()
            released, screened = kernel.run(rows)
            spent = _now() - started
            yield _result(Place(parcel["number"], parcel["first_row"], rows.num_rows), released, screened, spent)

    return Step(STAGED, RESULT, work)


def screen_parcels(spec: ProcessingSpec) -> Step:
    """The first of two passes: check, remedy, observe; a partition ends with what it counted."""
    packed = pickle.dumps(spec)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spec, screening = _screening(packed)
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        for parcel in _parcels(batches):
            rows = unpack(parcel["rows"])
            started = _now()
            screened = screening.screen(rows)
            anonymizer.observe(screened.rows)
            spent = _now() - started
            books = {"rows_in": rows.num_rows, "findings": pack_findings(screened.findings), "pure_ns": spent}
            yield _row(SCREENED, parcel | books | {"rows": pack(screened.rows), "kept": screened.kept.tobytes()})
        yield _row(SCREENED, {"number": -1, "counts": pack(anonymizer.counts)})

    return Step(STAGED, SCREENED, work)


def anonymize_parcels(anonymizer: DatasetAnonymizer) -> Step:
    """The second of two passes: look every row's equivalence class up."""
    packed = pickle.dumps(anonymizer)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        frozen = _loaded(packed)
        for parcel in _parcels(batches):
            if parcel["number"] < 0:
                continue
            rows = unpack(parcel["rows"])
            started = _now()
            released = frozen.anonymize(rows)
            spent = _now() - started + parcel["pure_ns"]
            kept = np.frombuffer(parcel["kept"], np.int64)
            screened = Screened(rows, kept, unpack_findings(parcel["findings"], parcel["rows_in"]))
            place = Place(parcel["number"], parcel["first_row"], parcel["rows_in"])
            yield _result(place, released, screened, spent)

    return Step(SCREENED, RESULT, work)


@lru_cache(maxsize=1)
def _kernel(packed: bytes) -> BatchKernel:
    return BatchKernel(pickle.loads(packed))  # noqa: S301 - our own bytes


@lru_cache(maxsize=1)
def _screening(packed: bytes) -> tuple[ProcessingSpec, Screening]:
    spec = pickle.loads(packed)  # noqa: S301 - our own bytes
    return spec, Screening(spec)


@lru_cache(maxsize=1)
def _loaded(packed: bytes) -> DatasetAnonymizer:
    return cast("DatasetAnonymizer", pickle.loads(packed))  # noqa: S301 - our own bytes


def _parcels(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _result(place: Place, released: Released, screened: Screened, spent: int) -> pa.RecordBatch:
    result: Processed = processed(place, released, screened, spent)
    values = {
        "number": result.number,
        "first_row": result.first_row,
        "rows_in": result.rows_in,
        "findings": pack_findings(result.findings),
        "pure_ns": result.pure_ns,
        "released": pack(result.released),
        "ordinals": result.ordinals.tobytes(),
        "suppressed": result.suppressed.tobytes(),
    }
    return _row(RESULT, values)


def _row(schema: pa.Schema, values: dict[str, Any]) -> pa.RecordBatch:
    worker = f"{socket.gethostname()}-{os.getpid()}"
    return pa.RecordBatch.from_pylist([values | {"worker": worker}], schema=schema)
