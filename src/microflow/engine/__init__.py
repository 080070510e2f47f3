"""Batch, stream and hybrid engines on one contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from microflow.engine.contract import Processed, ProcessingSpec, Processor
from microflow.errors import MicroflowError

if TYPE_CHECKING:
    from microflow.engine.hybrid import HybridProcessor
    from microflow.engine.split_work import LocalBatchProcessor
    from microflow.engine.stream import StormStreamProcessor

__all__ = [
    "ENGINES", "PIPELINES", "HybridProcessor", "LocalBatchProcessor", "Processed", "ProcessingSpec", "Processor",
    "StormStreamProcessor", "build_processor",
]  # fmt: skip

PIPELINES = ("batch", "stream", "hybrid")
ENGINES = ("local", "spark")
#: Class to the module that holds it, by pipeline: an engine is imported only when it is asked for.
_CLASSES = {"batch": "LocalBatchProcessor", "stream": "StormStreamProcessor", "hybrid": "HybridProcessor"}
_MODULES = {"LocalBatchProcessor": "split_work", "StormStreamProcessor": "stream", "HybridProcessor": "hybrid"}


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
    processor: Processor = __getattr__(_CLASSES[pipeline])(spec)  # type: ignore[operator]
    return processor
