"""Microflow: anonymization of files and streams under a privacy policy, and measurement of what it costs.

A name is imported when it is first used, so that ``import microflow`` is fast.

>>> import microflow
>>> microflow.detailed_compliance_check({"record_id": 1, "ssn": "123-45-6789"}, "healthcare")["compliant"]
False
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.2.0"

#: Public name to its module and its name there.
_PUBLIC = {
    "HybridProcessor": ("microflow.engine", "HybridProcessor"),
    "JobSpec": ("microflow.pipeline", "JobSpec"),
    "MethodSettings": ("microflow.anonymize.contract", "MethodSettings"),
    "MicroflowError": ("microflow.errors", "MicroflowError"),
    "PipelineOrchestrator": ("microflow.pipeline", "PipelineOrchestrator"),
    "PostgreSQLConnector": ("microflow.store.connector", "PostgreSQLConnector"),
    "PostgresConnector": ("microflow.store.connector", "PostgreSQLConnector"),
    "SparkBatchProcessor": ("microflow.pipeline", "SparkBatchProcessor"),
    "StormStreamProcessor": ("microflow.engine", "StormStreamProcessor"),
    "detailed_compliance_check": ("microflow.compliance", "detailed_compliance_check"),
    "load_policy": ("microflow.compliance", "load_policy"),
    "load_schema": ("microflow.descriptors", "load_schema"),
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604 - all are names


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'microflow' has no attribute {name!r}; it has: {', '.join(_PUBLIC)}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
