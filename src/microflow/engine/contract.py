"""Input and output of every engine; nothing else differs between engines but speed.

Also which scopes of k-anonymity a pipeline can do, and what engines do that are made without a specification.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Anonymizer, Method, MethodSettings, Scope
from microflow.anonymize.tokenization import KEY_FILE_VARIABLE, KEY_VARIABLE, read_key
from microflow.compliance import load_policy
from microflow.compliance.conditions import FieldCondition
from microflow.compliance.findings import Findings
from microflow.compliance.policy import Policy, Rule
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.records import Microflow
from microflow.schema import DatasetSchema, Role
from microflow.settings import MICROFLOW_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["DROPPED", "Processed", "ProcessingSpec", "Processor", "default_spec", "scoped", "with_scope"]


#: Blanks attributes that a schema wants dropped where the method would tokenize or pass them.
DROPPED = Rule(
    id="unlisted-attribute",
    title="An attribute that the schema says to drop",
    regulation="own",
    article="",
    severity="low",
    kinds=frozenset(),
    roles=frozenset({Role.ATTRIBUTE}),
    names=frozenset(),
    condition=FieldCondition("present"),
    remedy="blank",
)


@dataclass(frozen=True)
class ProcessingSpec:
    """Specification of the work, independent of the engine: schema, policy and method.

    ``key`` is secret material for tokenization; it is left out of ``repr`` and of everything stored. What the schema
    says of ``unlisted`` attributes is done here, once for all engines: ``treat`` makes them quasi-identifiers, or
    identifiers where tokens are made; ``drop`` blanks them.

    Raises:
        SchemaError: the role of some column is undecided.
    """

    schema: DatasetSchema
    policy: Policy
    method: MethodSettings
    microflow_rows: int = MICROFLOW_ROWS
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.schema.require_decided()
        makes_tokens = self.method.method in (Method.TOKENIZATION, Method.IDENTITY)
        if self.schema.unlisted == "treat":
            self._give_attributes(Role.IDENTIFIER if makes_tokens else Role.QUASI_IDENTIFIER)
        elif self.schema.unlisted == "drop" and not makes_tokens:
            self._give_attributes(Role.IDENTIFIER)
        elif self.schema.unlisted == "drop" and DROPPED not in self.policy.rules:
            object.__setattr__(self, "policy", replace(self.policy, rules=(*self.policy.rules, DROPPED)))

    @property
    def counted(self) -> frozenset[str]:
        """Columns that a remedy must leave to the method, which counts their values and removes them."""
        counts = self.method.method is Method.K_ANONYMITY
        return frozenset({self.schema.person}) if counts and self.schema.person is not None else frozenset()

    def _give_attributes(self, role: Role) -> None:
        columns = tuple(
            replace(column, role=role) if column.role is Role.ATTRIBUTE else column for column in self.schema.columns
        )
        object.__setattr__(self, "schema", replace(self.schema, columns=columns))


@dataclass(frozen=True, slots=True)
class Processed:
    """Result of one microflow after the pure phase.

    ``released`` are the rows that may leave and ``ordinals`` (int64) name them; with a stream method they may belong to
    earlier microflows. ``suppressed`` (int64) names the rows that never will. ``findings`` are the violations of *this*
    microflow's input, counted before any remedy. ``pure_ns`` is its time, or its share by rows where several microflows
    were worked on together. Over a job: released + suppressed = rows of the source.
    """

    number: int
    first_row: int
    rows_in: int
    released: pa.RecordBatch
    ordinals: npt.NDArray[np.int64]
    suppressed: npt.NDArray[np.int64]
    findings: Findings
    pure_ns: int


class Processor:
    """An engine. It reads microflows, keeps the clock, and yields results; it never writes and never prints.

    What comes out and what it guarantees is decided by the anonymizer alone, whose scope may depend on the engine.
    """

    pipeline_type: str
    _anonymizer: Anonymizer

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every ``released`` batch."""
        return self._anonymizer.output_schema

    def describe(self) -> dict[str, object]:
        """The method and what it guarantees, JSON-ready, without any secret."""
        return self._anonymizer.describe()

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory, with ``clock.pure()`` around the pure phase only."""
        raise NotImplementedError


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


def default_spec(schema: str = "healthcare", method: str = "tokenization") -> ProcessingSpec:
    """A data type under its own policy, by one method with its default parameters.

    Tokens are made with the key of the environment. Without one a random key is drawn and not kept: such tokens
    are consistent within this specification and can be linked with nothing else.

    >>> default_spec("iot", "k_anonymity").policy.name
    'gdpr'
    """
    described, settings = load_schema(schema), MethodSettings(Method(method))
    key = _key(settings.key_bits) if settings.method is Method.TOKENIZATION else None
    return ProcessingSpec(described, load_policy(described.policy), settings, key=key)


def _key(bits: int) -> bytes:
    is_named = os.environ.keys() & {KEY_VARIABLE, KEY_FILE_VARIABLE}
    return read_key(bits) if is_named else secrets.token_bytes(bits // 8)
