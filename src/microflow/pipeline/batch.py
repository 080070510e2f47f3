"""`SparkBatchProcessor`: the seed's entry point to batch processing on Spark, from file to file without a database."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline.job import JobSpec
from microflow.pipeline.orchestrator import PipelineOrchestrator
from microflow.settings import MICROFLOW_ROWS

__all__ = ["SparkBatchProcessor"]


class SparkBatchProcessor:
    """Releases files on the active Spark session, or on a new one on ``SPARK_MASTER``.

    Args:
        schema: What the columns mean: a shipped name, or a path.
        policy: The rules; by default the schema's.
    """

    def __init__(self, schema: str = "healthcare", *, policy: str | None = None) -> None:
        self._schema, self._policy = schema, policy

    def process_batch_microflow(
        self,
        input_file: str | Path,
        output_file: str | Path,
        batch_size: int = MICROFLOW_ROWS,
        anonymization_method: str = "k_anonymity",
    ) -> dict[str, Any]:
        """Release a file, folder or pattern; the output replaces an older one.

        Rows that cannot be used are counted as quarantined and not kept. Tokens are made with the key of the
        environment.

        Args:
            input_file: What to read; every executor must see it.
            output_file: Where to; it appears whole or not at all.
            batch_size: Rows of a microflow.
            anonymization_method: With its default parameters.

        Returns:
            The metrics document.

        Raises:
            SetupError: there is no Java 17 or newer.
            MicroflowError: whatever is wrong with input, settings or the cluster.
        """
        job = JobSpec(
            input=input_file,
            output=output_file,
            schema=self._schema,
            policy=self._policy,
            method=MethodSettings(Method(anonymization_method)),
            engine="spark",
            microflow_rows=batch_size,
            overwrite=True,
            job_id=f"batch_microflow_spark_{secrets.token_hex(6)}",
        )
        return PipelineOrchestrator(None).run(job)
