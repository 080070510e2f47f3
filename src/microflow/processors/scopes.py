"""How much of the data k-anonymity sees, by pipeline; the other methods see a record and know nothing else."""

from __future__ import annotations

from dataclasses import replace

from microflow.anonymize.contract import Method, Scope
from microflow.errors import MicroflowError
from microflow.processors.contract import ProcessingSpec

__all__ = ["scoped", "with_scope"]

#: By pipeline: what it can do, its default first.
_SCOPES = {
    "batch": (Scope.DATASET, Scope.MICROFLOW),
    "stream": (Scope.STREAM,),
    "hybrid": (Scope.MICROFLOW,),
}


def scoped(spec: ProcessingSpec, pipeline: str) -> ProcessingSpec:
    """The specification with the scope that a pipeline works in.

    Raises:
        MicroflowError: another scope was asked for than the pipeline can do.
    """
    possible = _SCOPES[pipeline]
    asked = spec.method.scope or possible[0]
    if spec.method.method is Method.K_ANONYMITY and asked not in possible:
        raise MicroflowError(
            f"a {pipeline} pipeline cannot work by scope {asked.value!r}",
            hint=f"it can by: {', '.join(scope.value for scope in possible)}",
        )
    return with_scope(spec, asked)


def with_scope(spec: ProcessingSpec, scope: Scope) -> ProcessingSpec:
    """The specification with this scope, where the method has a choice."""
    if spec.method.method is not Method.K_ANONYMITY:
        return spec
    return replace(spec, method=replace(spec.method, scope=scope))
