"""Contract of every method: what an anonymizer sees, what it may keep, what it must count.

A method's `Scope` says how much of the data it must see before the first row may leave:

========== ==================================== ===========================================
scope      interface                            methods
========== ==================================== ===========================================
record     `RecordAnonymizer`                   tokenization, local differential privacy
microflow  `BatchAnonymizer`                    k-anonymity inside each microflow
dataset    `DatasetAnonymizer` (two passes)     k-anonymity over the whole data set
stream     `StreamAnonymizer` (bounded delay)   k-anonymity by CASTLE
========== ==================================== ===========================================

All work on memory only: no file, socket or clock is touched here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Record

__all__ = [
    "Anonymizer", "BatchAnonymizer", "DatasetAnonymizer", "Identity", "Method", "MethodSettings", "RecordAnonymizer",
    "Released", "Scope", "StreamAnonymizer", "with_text",
]  # fmt: skip


class Method(StrEnum):
    """The three methods of RQ-2, and the identity that measures what an engine costs without any (NEXMark q0)."""

    K_ANONYMITY = "k_anonymity"
    DIFFERENTIAL_PRIVACY = "differential_privacy"
    TOKENIZATION = "tokenization"
    IDENTITY = "identity"


class Scope(StrEnum):
    """Extent of the data that an anonymizer must see before a row may be released."""

    RECORD = "record"
    MICROFLOW = "microflow"
    DATASET = "dataset"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class MethodSettings:
    """Method and its parameters. A key is never part of it; ``seed=None`` asks for secure randomness."""

    method: Method
    k: int = 5
    epsilon: float = 1.0
    key_bits: int = 256
    reversible: bool = False
    """Tokens the key holder may turn back (AES-SIV) instead of one-way ones."""
    seed: int | None = None
    scope: Scope | None = None
    """The scope of k-anonymity; ``None`` lets the pipeline choose (data set for batch, stream for stream)."""
    strict: bool = False
    """Strict Mondrian (equal values stay together) instead of relaxed."""
    effort: int = 1
    """Effort of k-anonymity's search for classes that lose less: rounds of refinement, or sizes that are tried."""
    suppress: float = 0.0
    """The share of rows that k-anonymity may give up where the others lose less by more."""
    l_diversity: int = 1
    l_entropy: bool = False
    """Entropy l-diversity instead of distinct."""
    l_recursive: float = 0.0
    """The c of recursive (c, l)-diversity, which is then asked for besides distinct l-diversity; 0 for neither."""
    t_closeness: float = 1.0
    delta: int = 1_000
    """CASTLE's delay bound, in records."""

    def __post_init__(self) -> None:
        # Callers may write a word; taken as it is, it would be no member, and another method would do the work.
        try:
            object.__setattr__(self, "method", Method(self.method))
            object.__setattr__(self, "scope", None if self.scope is None else Scope(self.scope))
        except ValueError as error:
            raise MicroflowError(str(error), hint=f"methods are: {', '.join(Method)}") from error


@dataclass(frozen=True, slots=True)
class Released:
    """Released rows: ``rows``, and ``kept``, the positions (int64, ascending) of the input rows they came from.

    Suppressed rows are those missing from ``kept``; their number is ``seen - len(kept)``.
    """

    rows: pa.RecordBatch
    kept: npt.NDArray[np.int64]
    seen: int

    @classmethod
    def whole(cls, rows: pa.RecordBatch) -> Self:
        """Rows of which none was suppressed."""
        return cls(rows, np.arange(rows.num_rows, dtype=np.int64), rows.num_rows)


def with_text(schema: DatasetSchema, columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of rows that hold text in some columns, as labels and tokens are; the others keep their type."""
    return pa.schema(
        [pa.field(column.name, pa.string() if column in columns else column.dtype.arrow) for column in schema.columns]
    )


class Anonymizer(Protocol):
    """Interface that all methods share."""

    @property
    def scope(self) -> Scope:
        """Extent of the data that must be seen before a row may be released."""
        ...

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of released rows: the input's columns in the input's order, some with another type."""
        ...

    def describe(self) -> dict[str, object]:
        """Method, parameters, privacy unit and the guarantee claimed; JSON-ready, without any secret."""
        ...


@runtime_checkable
class BatchAnonymizer(Anonymizer, Protocol):
    """A method that releases a microflow by itself (scopes record and microflow)."""

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Release one microflow; by scope record or data set, any number of rows."""
        ...


@runtime_checkable
class RecordAnonymizer(BatchAnonymizer, Protocol):
    """A method that releases each record by itself; both forms give equal rows."""

    def anonymize_record(self, record: Record) -> Record:
        """Release one record as a new dict, fields in the schema's order."""
        ...


@runtime_checkable
class DatasetAnonymizer(BatchAnonymizer, Protocol):
    """A method that must observe every row (`observe` … `freeze`) before `anonymize` may be called."""

    def observe(self, rows: pa.RecordBatch) -> None:
        """Count some rows; memory grows with the quasi-identifiers' domain, not with the rows."""
        ...

    def merge(self, counts: pa.RecordBatch) -> None:
        """Add counts that another worker observed."""
        ...

    @property
    def counts(self) -> pa.RecordBatch:
        """Counts of the observed rows, for `merge`."""
        ...

    def freeze(self) -> None:
        """Decide the equivalence classes; verifies k over everything observed."""
        ...


@runtime_checkable
class StreamAnonymizer(Anonymizer, Protocol):
    """A method that holds records back for a bounded delay. Ordinals name records from push to release."""

    def push(self, ordinal: int, record: Record) -> list[tuple[int, Record]]:
        """Take one record; return those that must leave now, with their ordinals, in order of release."""
        ...

    def flush(self) -> list[tuple[int, Record]]:
        """End of stream: release everything that can be released safely."""
        ...

    @property
    def suppressed(self) -> Iterable[int]:
        """Ordinals of the records that could not be released."""
        ...


class Identity:
    """Identity: it passes every row unchanged, protects no person, and says so."""

    scope = Scope.RECORD

    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema

    @property
    def output_schema(self) -> pa.Schema:
        """The schema of the input."""
        return self._schema.arrow

    def describe(self) -> dict[str, object]:
        """The method, and that it guarantees nothing."""
        return {"method": Method.IDENTITY.value, "scope": self.scope.value, "guarantee": "none"}

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Return the rows unchanged; all are kept."""
        return Released.whole(rows)

    def anonymize_record(self, record: Record) -> Record:
        """A copy of the record, fields in the schema's order."""
        return {name: record[name] for name in self._schema.names}
