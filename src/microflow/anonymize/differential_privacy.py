"""Local differential privacy: each record is perturbed by itself, before anybody has seen it.

The unit of privacy is one record, and epsilon is the budget of the whole record: it is split over the perturbed fields
by their declared shares (sequential composition), so that for any two records that differ in these fields, anywhere,
every released combination of them is at most e^epsilon times as likely under one as under the other. A person with
several records spends epsilon for each.

Numbers with public bounds: `TruncatedGeometric`. Public categories: `RandomisedResponse`. Quasi-identifiers and
sensitive columns without a public domain cannot be perturbed and are released as missing, as identifiers always are.
All other columns pass unchanged and are *not* covered by the guarantee; `describe` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings, Released, Scope
from microflow.anonymize.domains import Domain, public_domain
from microflow.anonymize.mechanisms import Mechanism, RandomisedResponse, TruncatedGeometric, Uniforms
from microflow.errors import MicroflowError
from microflow.records import copied
from microflow.schema import Column, DatasetSchema, Dtype, Record, Role

__all__ = ["LocalDifferentialPrivacy", "Perturbed", "perturbed_columns"]

_PERTURBED_ROLES = (Role.QUASI_IDENTIFIER, Role.SENSITIVE)


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A column, its public domain, and the mechanism that spends its part of the budget."""

    column: Column
    domain: Domain
    mechanism: Mechanism


def perturbed_columns(schema: DatasetSchema, epsilon: float) -> tuple[Perturbed, ...]:
    """The columns that are perturbed, in the schema's order; their mechanisms' epsilons add up to ``epsilon``.

    Raises:
        MicroflowError: no column has a public domain, or epsilon is outside its range.
    """
    domains = [(column, public_domain(column)) for column in schema.with_role(*_PERTURBED_ROLES)]
    shares = sum(column.share for column, domain in domains if domain is not None)
    if not shares:
        raise MicroflowError(
            f"schema {schema.name!r} has no quasi-identifier or sensitive column with a public domain",
            hint="declare low and high, or categories",
        )
    return tuple(
        Perturbed(column, domain, _mechanism(domain, epsilon * column.share / shares))
        for column, domain in domains
        if domain is not None
    )


def _mechanism(domain: Domain, epsilon: float) -> Mechanism:
    return (TruncatedGeometric if domain.is_ordered else RandomisedResponse)(domain.size, epsilon)


class LocalDifferentialPrivacy:
    """Perturbs quasi-identifiers and sensitive values, and removes identifiers.

    With ``settings.seed`` the noise is repeatable (see `microflow.anonymize.mechanisms`) and protects nobody who knows
    the seed; without, it comes from the operating system. An instance belongs to one thread.
    """

    scope = Scope.RECORD

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        self._settings = settings
        self._schema = schema
        self._names = schema.names
        self._perturbed = perturbed_columns(schema, settings.epsilon)
        self._uniforms = Uniforms(len(self._perturbed), settings.seed)
        known = {one.column.name for one in self._perturbed}
        treated = schema.with_role(Role.IDENTIFIER, Role.PERSON, *_PERTURBED_ROLES)
        self._removed = {column.name: column.dtype.arrow for column in treated if column.name not in known}
        self._record_id = _integer_record_id(schema)

    @property
    def output_schema(self) -> pa.Schema:
        """The schema of the input: perturbed values are values of the same domain."""
        return self._schema.arrow

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Perturb one microflow; every row is kept."""
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        for one, uniforms in zip(self._perturbed, self._draw(rows.num_rows, columns), strict=True):
            codes = one.mechanism.perturb(one.domain.encode(columns[one.column.name]), uniforms)
            columns[one.column.name] = one.domain.decode(codes)
        columns |= self._missing(rows.num_rows)
        released = [columns[name] for name in self._names]
        return Released.whole(pa.RecordBatch.from_arrays(released, schema=self.output_schema))

    def _missing(self, rows: int) -> dict[str, pa.Array]:
        """The removed columns; those of one type are one array."""
        nothing = {dtype: pa.nulls(rows, dtype) for dtype in set(self._removed.values())}
        return {name: nothing[dtype] for name, dtype in self._removed.items()}

    def _draw(self, rows: int, columns: Mapping[str, pa.Array]) -> npt.NDArray[np.uint64]:
        if self._settings.seed is None or self._record_id is None:
            return self._uniforms.many(rows)
        return self._uniforms.many(rows, columns[self._record_id].fill_null(0).to_numpy())

    def anonymize_record(self, record: Record) -> Record:
        """Perturb one record; with a seed, equal to the row that `anonymize` gives."""
        released = copied(record, self._names)
        named = None if self._record_id is None else released[self._record_id]
        uniforms = self._uniforms.one(int(named or 0) if self._record_id is not None else None)
        for one, uniform in zip(self._perturbed, uniforms, strict=True):
            code = one.mechanism.perturb_one(one.domain.encode_one(released[one.column.name]), uniform)
            released[one.column.name] = one.domain.values[code]
        for name in self._removed:
            released[name] = None
        return released

    def describe(self) -> dict[str, object]:
        """The budget and how it is split, the privacy unit, and what the guarantee does not cover."""
        touched = {*self._removed, *(one.column.name for one in self._perturbed)}
        return {
            "method": Method.DIFFERENTIAL_PRIVACY.value,
            "scope": self.scope.value,
            "model": "local",
            "epsilon": self._settings.epsilon,
            "epsilon_of_field": {one.column.name: one.mechanism.epsilon for one in self._perturbed},
            "mechanism_of_field": {one.column.name: type(one.mechanism).__name__ for one in self._perturbed},
            "removed": list(self._removed),
            "passed_unprotected": [name for name in self._schema.names if name not in touched],
            "randomness": "operating system" if self._settings.seed is None else f"seed {self._settings.seed}",
            "privacy_unit": "one record",
            "guarantee": f"ε-local differential privacy with ε = {self._settings.epsilon:g} for each record, "
            "over the perturbed and removed fields together",
        }


def _integer_record_id(schema: DatasetSchema) -> str | None:
    name = schema.record_id
    return name if name is not None and schema[name].dtype is Dtype.INTEGER else None
