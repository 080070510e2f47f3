"""Batch processing on Spark: the same kernel, in ``mapInArrow``, wherever the workers are.

Pre-processing lays the source aside as parcels (a folder that all workers see: on a cluster, a shared file system named
by ``MICROFLOW_SPARK_FOLDER``). The timed action maps them and persists the results; nothing is collected on the driver,
which afterwards streams the results back in order.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.parquet as pq

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Scope
from microflow.microflows import Microflow
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.parcels import RESULT, SCREENED, parcels, stage, unpack, unpack_result
from microflow.processors.spark_session import spark_session
from microflow.processors.spark_work import Work, anonymize_parcels, process_parcels, screen_parcels
from microflow.timing.clock import PhaseClock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkBatchEngine"]


class SparkBatchEngine:
    """Runs the kernel on the session's workers.

    Args:
        spec: What to do.
        session: Spark's; by default one is made on ``SPARK_MASTER``.
    """

    pipeline_type = "batch_microflow_spark"

    def __init__(self, spec: ProcessingSpec, session: SparkSession | None = None) -> None:
        self._spec = spec
        self._session = session
        self._anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
        #: Nanoseconds of the Spark actions, from submission to the last result persisted.
        self.action_ns = 0

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._anonymizer.output_schema

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source; memory on the driver is bounded by a few microflows."""
        with tempfile.TemporaryDirectory(dir=os.environ.get("MICROFLOW_SPARK_FOLDER")) as folder:
            place = Path(folder)
            with clock.pre():
                session = self._session or spark_session()
                stage(source, place / "staged")
            self._act(session, place, clock)
            for row in clock.reading(parcels(place / "results")):
                clock.add_pure(row["pure_ns"], row["worker"])
                yield unpack_result(row)

    def _act(self, session: SparkSession, place: Path, clock: PhaseClock) -> None:
        """The Spark actions. Their time beyond the workers' own spans is what the engine costs: it stays residual."""
        staged, results = place / "staged", place / "results"
        if self._anonymizer.scope is not Scope.DATASET:
            self._map(session, staged, results, process_parcels(self._spec), RESULT)
            return
        screened = place / "screened"
        self._map(session, staged, screened, screen_parcels(self._spec), SCREENED)
        anonymizer = cast("DatasetAnonymizer", self._anonymizer)
        for counts in _counts(screened):
            anonymizer.merge(counts)
        with clock.pure():
            anonymizer.freeze()
        self._map(session, screened, results, anonymize_parcels(anonymizer), RESULT)

    def _map(self, session: SparkSession, source: Path, target: Path, work: Work, schema: pa.Schema) -> None:
        from pyspark.sql.pandas.types import from_arrow_schema

        frame = session.read.parquet(str(source))
        frame.mapInArrow(work, from_arrow_schema(schema)).write.parquet(str(target))


def _counts(folder: Path) -> Iterator[pa.RecordBatch]:
    """What each partition counted: aggregates, never rows."""
    for file in folder.glob("part-*.parquet"):
        table = pq.read_table(file, columns=["counts"], filters=[("number", "=", -1)])
        yield from (unpack(packed) for packed in table["counts"].to_pylist())
