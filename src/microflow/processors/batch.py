"""Batch processing on Spark: the same kernel, in ``mapInArrow``, wherever the workers are.

Pre-processing lays the source aside as parcels (a folder that all workers see: on a cluster, a shared file system named
by ``MICROFLOW_SPARK_FOLDER``). The timed action maps them and persists the results; nothing is collected on the driver,
which afterwards streams the results back in order.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, Scope
from microflow.errors import MicroflowError
from microflow.microflows import Microflow
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.defaults import default_spec
from microflow.processors.files import process_file
from microflow.processors.parcels import parcels, stage, unpack, unpack_result
from microflow.processors.scopes import scoped
from microflow.processors.spark_session import spark_session
from microflow.processors.spark_work import Step, anonymize_parcels, process_parcels, screen_parcels
from microflow.settings import MICROFLOW_ROWS, Settings
from microflow.timing.clock import PhaseClock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkBatchProcessor"]

_WHY = "Spark's log says why; workers need the packages that pyproject.toml names, and to see MICROFLOW_SPARK_FOLDER"


class SparkBatchProcessor:
    """Runs the kernel on the workers of a Spark session.

    Args:
        spec: What to do; by default ``schema`` under its own policy, tokenized.
        session: Spark's; by default the active one, or a new one on ``SPARK_MASTER``.
        schema: The data type where no ``spec`` is given.
    """

    pipeline_type = "batch_microflow_spark"

    def __init__(
        self, spec: ProcessingSpec | None = None, session: SparkSession | None = None, *, schema: str = "healthcare"
    ) -> None:
        self._spec = scoped(spec or default_spec(schema), "batch")
        self._session = session
        self._anonymizer = build_anonymizer(self._spec.method, self._spec.schema, self._spec.key)
        #: Nanoseconds of the Spark actions of the last job, from submission to the last result persisted.
        self.action_ns = 0

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._anonymizer.output_schema

    def describe(self) -> dict[str, object]:
        """The method and what it guarantees, without any secret."""
        return self._anonymizer.describe()

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source; memory on the driver is bounded by a few microflows.

        Raises:
            SetupError: there is no Java 17 or newer.
            MicroflowError: Spark could not finish the job.
        """
        with tempfile.TemporaryDirectory(dir=Settings.read().spark_folder) as folder:
            place = Path(folder)
            with clock.pre():
                session = self._session or spark_session()
                stage(source, place / "staged")
            self.action_ns = self._act(session, place, clock)
            for row in clock.reading(parcels(place / "results")):
                clock.add_pure(row["pure_ns"], row["worker"])
                yield unpack_result(row)

    def process_batch_microflow(
        self,
        input_file: str | Path,
        output_file: str | Path,
        batch_size: int = MICROFLOW_ROWS,
        anonymization_method: str = "k_anonymity",
    ) -> dict[str, Any]:
        """The seed's entry point: file to file without a database, by `process_file`; returns the metrics document."""
        settings = replace(self._spec.method, method=Method(anonymization_method))
        spec = replace(self._spec, method=settings, microflow_rows=batch_size)
        return process_file(SparkBatchProcessor(spec, self._session), spec, Path(input_file), Path(output_file))

    def _act(self, session: SparkSession, place: Path, clock: PhaseClock) -> int:
        """The Spark actions. Their time beyond the workers' own spans is what the engine costs: it stays residual."""
        staged, results = place / "staged", place / "results"
        if self._anonymizer.scope is not Scope.DATASET:
            return _map(session, staged, results, process_parcels(self._spec))
        screened = place / "screened"
        first_ns = _map(session, staged, screened, screen_parcels(self._spec))
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(self._spec.method, self._spec.schema))
        for counts in _counts(screened):
            anonymizer.merge(counts)
        with clock.pure():
            anonymizer.freeze()
        return first_ns + _map(session, screened, results, anonymize_parcels(anonymizer))


def _map(session: SparkSession, source: Path, target: Path, step: Step) -> int:
    """One action, and how many nanoseconds it took."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import from_arrow_schema

    started = time.perf_counter_ns()
    frame = session.read.schema(from_arrow_schema(step.reads)).parquet(str(source))
    try:
        frame.mapInArrow(step.work, from_arrow_schema(step.writes)).write.parquet(str(target))
    except (PySparkException, Py4JJavaError) as error:
        # Its text may quote a value of a row: it goes no further than the log of Spark.
        raise MicroflowError("Spark could not finish the job", hint=_WHY) from error
    return time.perf_counter_ns() - started


def _counts(folder: Path) -> Iterator[pa.RecordBatch]:
    """What each partition counted: aggregates, never rows."""
    for file in sorted(folder.glob("part-*.parquet")):
        table = pq.read_table(file, columns=["counts"], filters=[("number", "=", -1)])
        yield from (unpack(packed) for packed in table["counts"].to_pylist())
