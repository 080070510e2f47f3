"""Batch, stream and hybrid engines on one contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from microflow.engine.contract import Processed, ProcessingSpec, Processor
from microflow.errors import MicroflowError

if TYPE_CHECKING:
    from microflow.engine.batch_local import LocalBatchProcessor
    from microflow.engine.hybrid import HybridProcessor
    from microflow.engine.stream import StormStreamProcessor

__all__ = [
    "ENGINES",
    "PIPELINES",
    "HybridProcessor",
    "LocalBatchProcessor",
    "Processed",
    "ProcessingSpec",
    "Processor",
    "StormStreamProcessor",
    "build_processor",
]

PIPELINES = ("batch", "stream", "hybrid")
ENGINES = ("local", "spark")
#: Class to the module that holds it: an engine is imported only when it is asked for.
_MODULES = {
    "LocalBatchProcessor": "batch_local",
    "StormStreamProcessor": "stream",
    "HybridProcessor": "hybrid",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def build_processor(spec: ProcessingSpec, pipeline: str = "batch") -> Processor:
    """The engine for a pipeline in this process; only its own modules are imported.

    Raises:
        MicroflowError: there is no such pipeline.
    """
    if pipeline not in PIPELINES:
        raise MicroflowError(f"no pipeline {pipeline!r}", hint=f"pipelines are: {', '.join(PIPELINES)}")
    if pipeline == "stream":
        from microflow.engine.stream import StormStreamProcessor

        return StormStreamProcessor(spec)
    if pipeline == "hybrid":
        from microflow.engine.hybrid import HybridProcessor

        return HybridProcessor(spec)
    from microflow.engine.batch_local import LocalBatchProcessor

    return LocalBatchProcessor(spec)
