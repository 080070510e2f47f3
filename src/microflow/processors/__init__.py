"""Batch, stream and hybrid engines on one contract."""

from __future__ import annotations

from microflow.errors import MicroflowError
from microflow.processors.contract import Processed, ProcessingSpec, Processor

__all__ = ["ENGINES", "PIPELINES", "Processed", "ProcessingSpec", "Processor", "build_processor"]

PIPELINES = ("batch", "stream", "hybrid")
ENGINES = ("local", "spark")


def build_processor(spec: ProcessingSpec, pipeline: str = "batch", engine: str = "local") -> Processor:
    """The engine for a pipeline; only its own modules are imported.

    Raises:
        MicroflowError: there is no such pipeline or engine, or Spark is asked for anything but batch.
    """
    if pipeline not in PIPELINES:
        raise MicroflowError(f"no pipeline {pipeline!r}", hint=f"pipelines are: {', '.join(PIPELINES)}")
    if engine not in ENGINES:
        raise MicroflowError(f"no engine {engine!r}", hint=f"engines are: {', '.join(ENGINES)}")
    if engine == "spark":
        if pipeline != "batch":
            raise MicroflowError(
                f"Spark runs the batch pipeline, not {pipeline}", hint="use --engine local, or --pipeline batch"
            )
        from microflow.processors.batch_spark import SparkBatchEngine

        return SparkBatchEngine(spec)
    if pipeline == "stream":
        from microflow.processors.stream import StormStreamProcessor

        return StormStreamProcessor(spec)
    if pipeline == "hybrid":
        from microflow.processors.hybrid import HybridProcessor

        return HybridProcessor(spec)
    from microflow.processors.batch_local import LocalBatchProcessor

    return LocalBatchProcessor(spec)
