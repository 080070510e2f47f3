"""What Spark's workers do with parcels; imports no Spark, so that it can be tested without.

A worker is handed numbers of parcels, reads each from a folder that all workers see, and leaves its result in another.
It compiles a specification once, however many tasks it runs. The clock of `Processed.pure_ns` is the worker's own,
started after a morsel is read and stopped before its result is written.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import cast

import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer
from microflow.processors.contract import ProcessingSpec
from microflow.processors.kernel import BatchKernel, Screening
from microflow.processors.morsels import morsels
from microflow.processors.parcels import Laid, lay, pick_up, put, read, staged, written
from microflow.processors.results import results_of

__all__ = ["COUNTS", "RESULTS", "STAGED", "Work", "anonymize_parcels", "process_parcels", "screen_parcels"]

#: What ``mapInArrow`` runs: numbers of parcels go in and, once they are done, out.
Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
#: The folders of a job.
STAGED, SCREENED, COUNTS, RESULTS = "staged", "screened", "counts", "results"
_now = time.perf_counter_ns


def process_parcels(spec: ProcessingSpec, job: Path) -> Work:
    """The whole kernel on each morsel: for methods that release a microflow by itself."""
    packed = pickle.dumps(spec)

    def work(parcel: int) -> None:
        kernel = _kernel(packed)
        with written(job / RESULTS, parcel, kernel.anonymizer.output_schema) as writer:
            for morsel in morsels(staged(job / STAGED, parcel)):
                started = _now()
                released, screened = kernel.run_morsel(morsel)
                spent = _now() - started
                for result in results_of(morsel.places, released, screened, spent):
                    put(writer, result, _worker())

    return _each(work)


def screen_parcels(spec: ProcessingSpec, job: Path) -> Work:
    """The first of two passes: check, remedy, observe; what a parcel counted lies beside it."""
    packed = pickle.dumps(spec)

    def work(parcel: int) -> None:
        spec, screening = _screening(packed)
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        with written(job / SCREENED, parcel, spec.schema.arrow) as writer:
            for morsel in morsels(staged(job / STAGED, parcel)):
                started = _now()
                screened = screening.screen(morsel.rows)
                anonymizer.observe(screened.rows)
                spent = _now() - started
                lay(writer, Laid(morsel.places, screened, spent))
        counts = anonymizer.counts
        with written(job / COUNTS, parcel, counts.schema) as writer:
            writer.write_batch(counts)

    return _each(work)


def anonymize_parcels(anonymizer: DatasetAnonymizer, job: Path) -> Work:
    """The second of two passes: look every row's equivalence class up."""
    packed = pickle.dumps(anonymizer)

    def work(parcel: int) -> None:
        frozen = _loaded(packed)
        with written(job / RESULTS, parcel, frozen.output_schema) as writer:
            for laid, _, _ in pick_up(read(job / SCREENED, parcel)):
                started = _now()
                released = frozen.anonymize(laid.screened.rows)
                spent = _now() - started + laid.pure_ns
                for result in results_of(laid.places, released, laid.screened, spent):
                    put(writer, result, _worker())

    return _each(work)


def _each(work: Callable[[int], None]) -> Work:
    def over(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for numbers in batches:
            for parcel in numbers.column(0).to_pylist():
                work(parcel)
            yield numbers

    return over


def _worker() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


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
