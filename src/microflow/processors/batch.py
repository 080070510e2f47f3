"""Batch processing on Spark: the same kernel, in ``mapInArrow``, wherever the workers are.

Pre-processing lays the source aside as parcels, in a folder that all workers see (on a cluster, a shared file system
named by ``MICROFLOW_SPARK_FOLDER``). The timed action hands their numbers out and persists the results there; nothing
is collected on the driver, which afterwards streams the results back in order.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, Scope
from microflow.errors import MicroflowError
from microflow.microflows import Microflow
from microflow.processors.contract import Engine, Processed, ProcessingSpec
from microflow.processors.defaults import default_spec
from microflow.processors.files import process_file
from microflow.processors.parcels import read, results, stage
from microflow.processors.scopes import scoped
from microflow.processors.spark_session import spark_session
from microflow.processors.spark_work import (
    COUNTS,
    RESULTS,
    STAGED,
    Work,
    anonymize_parcels,
    process_parcels,
    screen_parcels,
)
from microflow.settings import MICROFLOW_ROWS, Settings
from microflow.timing.clock import PhaseClock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkBatchProcessor"]

_WHY = "Spark's log says why; workers need the packages that pyproject.toml names, and to see MICROFLOW_SPARK_FOLDER"


class SparkBatchProcessor(Engine):
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

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source; memory on the driver is bounded by a few microflows.

        Raises:
            SetupError: there is no Java 17 or newer.
            MicroflowError: Spark could not finish the job.
        """
        with tempfile.TemporaryDirectory(dir=Settings.read().spark_folder) as folder:
            job = Path(folder)
            with clock.pre():
                session = self._session or spark_session()
                parcels = stage(source, job / STAGED)
            self.action_ns = self._act(session, job, parcels, clock)
            for result, worker in clock.reading(results(job / RESULTS, parcels)):
                clock.add_pure(result.pure_ns, worker)
                yield result

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

    def _act(self, session: SparkSession, job: Path, parcels: int, clock: PhaseClock) -> int:
        """The Spark actions. Their time beyond the workers' own spans is what the engine costs: it stays residual."""
        if self._anonymizer.scope is not Scope.DATASET:
            return _hand_out(session, parcels, process_parcels(self._spec, job))
        first_ns = _hand_out(session, parcels, screen_parcels(self._spec, job))
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(self._spec.method, self._spec.schema))
        for number in range(parcels):
            for counts, _ in read(job / COUNTS, number):
                anonymizer.merge(counts)
        with clock.pure():
            anonymizer.freeze()
        self._anonymizer = anonymizer
        return first_ns + _hand_out(session, parcels, anonymize_parcels(anonymizer, job))


def _hand_out(session: SparkSession, parcels: int, work: Work) -> int:
    """One action, a task a parcel, and how many nanoseconds it took."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    started = time.perf_counter_ns()
    numbers = session.range(0, parcels, numPartitions=max(parcels, 1))
    try:
        numbers.mapInArrow(work, numbers.schema).write.format("noop").mode("overwrite").save()
    except (PySparkException, Py4JJavaError) as error:
        # Its text may quote a value of a row: it goes no further than the log of Spark.
        raise MicroflowError("Spark could not finish the job", hint=_WHY) from error
    return time.perf_counter_ns() - started
