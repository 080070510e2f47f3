"""Local differential privacy: each record is perturbed by itself, before anybody has seen it.

The unit of privacy is one record, and epsilon is the budget of the whole record: it is split over the perturbed fields
by their declared shares (sequential composition), so that for any two records that differ in these fields, anywhere,
every released combination of them is at most e^epsilon times as likely under one as under the other. A person with
several records spends epsilon for each.

A field needs a *public domain*, which comes from its description alone, never from the data: numbers with declared
bounds (`TruncatedGeometric`), declared categories, the two booleans, the ten digits a ZIP code may begin with
(`RandomisedResponse`). A number outside its bounds is moved to the nearer one; a text outside its domain counts as
missing. Quasi-identifiers and sensitive columns without a public domain are released as missing, as identifiers always
are. All other columns pass unchanged and are *not* covered by the guarantee; `describe` names them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.cmac import as_text, even_offsets, first_bytes
from microflow.anonymize.contract import Method, MethodSettings, Released, Scope
from microflow.anonymize.generalise import prefix_label
from microflow.anonymize.mechanisms import Codes, Mechanism, RandomisedResponse, TruncatedGeometric, Uniforms
from microflow.errors import MicroflowError
from microflow.records import convert, copied
from microflow.schema import Column, DatasetSchema, Dtype, Record, Role, Value

__all__ = [
    "GRID_STEPS", "Choices", "Decoder", "Domain", "Grid", "LocalDifferentialPrivacy", "Perturbed", "perturbed_columns",
    "public_domain",
]  # fmt: skip


class Decoder:
    """Values by code; the last is a missing one.

    Values that all take equally many bytes, as numbers and short codes do, are copied whole by one look-up, several
    times faster than Arrow takes text.

    >>> Decoder(["F", "M", None], Dtype.STRING)(np.array([1, 2, 0])).to_pylist()
    ['M', None, 'F']
    """

    def __init__(self, values: Sequence[Value], dtype: Dtype) -> None:
        self._values = pa.array(values, dtype.arrow)
        self._missing = len(values) - 1
        self._width = 0
        self._table: npt.NDArray[np.generic] | None = None
        if dtype in (Dtype.INTEGER, Dtype.NUMBER):
            self._table = self._values.fill_null(0).to_numpy()
        elif pa.types.is_string(self._values.type):
            texts = [str(value).encode() for value in values[:-1]]
            self._width = len(texts[0])
            if {len(text) for text in texts} == {self._width} != {0}:
                self._table = np.frombuffer(b"".join([*texts, bytes(self._width)]), f"V{self._width}")

    def __call__(self, codes: npt.NDArray[np.int64]) -> pa.Array:
        """The value of each code."""
        if self._table is None:
            return self._values.take(pa.array(codes))
        valid = np.packbits(codes != self._missing, bitorder="little")
        buffers = [pa.py_buffer(valid), pa.py_buffer(self._table.take(codes).view(np.uint8))]
        if self._width:
            buffers.insert(1, even_offsets(len(codes), self._width))
        return pa.Array.from_buffers(self._values.type, len(codes), buffers)


#: A range is cut into at most so many steps. A power of two, so that a step of an interval is exact.
GRID_STEPS = 1 << 10
_DIGITS = "0123456789"


class Choices:
    """A few values without distance: categories, booleans, first digits."""

    is_ordered = False

    def __init__(
        self, keys: tuple[str, ...], values: tuple[Value, ...], dtype: Dtype, *, initial: bool = False
    ) -> None:
        self.size = len(keys)
        self.values = (*values, None)
        self._keys = pa.array(keys, pa.string())
        self._codes = {value: code for code, value in enumerate(keys if initial else values)}
        self._initial = initial
        if initial:  # every key is one ASCII character, which no byte of another character is
            self._code_of_byte = np.full(256, self.size, np.int64)
            self._code_of_byte[[ord(key) for key in keys]] = np.arange(self.size)
        self.decode = Decoder(self.values, dtype)

    def encode(self, column: pa.Array) -> Codes:
        """Positions among the keys."""
        texts = as_text(column)
        if self._initial:
            return self._code_of_byte.take(first_bytes(texts))
        found = pc.index_in(texts, value_set=self._keys)
        if found.null_count:
            found = found.fill_null(self.size)
        codes: Codes = found.to_numpy().astype(np.int64)
        return codes

    def encode_one(self, value: Value) -> int:
        """Position among the keys."""
        if value is None:
            return self.size
        return self._codes.get(str(value)[:1] if self._initial else value, self.size)


class Grid:
    """Evenly spaced numbers from ``low`` to ``high``; a value is moved to the nearest."""

    is_ordered = True

    def __init__(self, low: float, high: float, dtype: Dtype) -> None:
        width = high - low
        whole = dtype is Dtype.INTEGER
        self.step = max(1.0, float(math.ceil(width / GRID_STEPS))) if whole else width / GRID_STEPS
        self.size = math.ceil(width / self.step) + 1
        self._low, self._high = low, high
        points = [min(low + code * self.step, high) for code in range(self.size)]
        self.values: tuple[Value, ...] = (*(int(point) if whole else point for point in points), None)
        self.decode = Decoder(self.values, dtype)

    def encode(self, column: pa.Array) -> Codes:
        """Nearest grid points."""
        # pyarrow hands nulls over as NaN, which every step up to the last keeps.
        numbers = column.to_numpy(zero_copy_only=False).astype(np.float64)
        inside = np.minimum(np.maximum(numbers, self._low), self._high)
        steps = np.rint((inside - self._low) / self.step)
        codes: Codes = np.where(np.isnan(steps), self.size, steps).astype(np.int64)
        return codes

    def encode_one(self, value: Value) -> int:
        """The nearest grid point."""
        if not isinstance(value, int | float) or math.isnan(value):
            return self.size
        return round((min(max(float(value), self._low), self._high) - self._low) / self.step)


#: Codes of a column's values; ``values`` is what each is released as, the last is ``None``.
Domain = Choices | Grid


def _texts(values: tuple[Value, ...], dtype: Dtype) -> tuple[str, ...]:
    """Values as Arrow writes them."""
    return tuple(pa.array(values, dtype.arrow).cast(pa.string()).to_pylist())


def public_domain(column: Column) -> Domain | None:
    """The domain that a column's declaration gives, or ``None`` where it gives none.

    Of a ZIP code only the first digit is a public domain small enough to say anything about one person.

    >>> public_domain(Column("sex", categories=("F", "M"))).values
    ('F', 'M', None)
    >>> public_domain(Column("note")) is None
    True
    """
    if column.categories:
        values = tuple(convert(category, column) for category in column.categories)
        return Choices(_texts(values, column.dtype), values, column.dtype)
    if column.dtype is Dtype.BOOLEAN:
        return Choices(("false", "true"), (False, True), column.dtype)
    if column.bounds is not None and column.bounds[0] < column.bounds[1]:
        return Grid(*column.bounds, column.dtype)
    if column.kind == "zip" and column.hierarchy is not None and column.hierarchy.prefix:
        length = max(column.hierarchy.prefix)
        return Choices(
            tuple(_DIGITS), tuple(prefix_label(digit, length) for digit in _DIGITS), column.dtype, initial=True
        )
    return None


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

    With ``settings.seed`` the noise is repeatable (see `microflow.anonymize.mechanisms`) and protects no person from
    an attacker who knows the seed; without, it comes from the operating system. An instance belongs to one thread.
    """

    scope = Scope.RECORD

    def __init__(self, settings: MethodSettings, schema: DatasetSchema) -> None:
        self._settings = settings
        self._schema = schema
        self._names = schema.names
        self._perturbed = perturbed_columns(schema, settings.epsilon)
        self._uniforms = Uniforms(len(self._perturbed), settings.seed)
        known = {perturbed.column.name for perturbed in self._perturbed}
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
        for perturbed, uniforms in zip(self._perturbed, self._draw(rows.num_rows, columns), strict=True):
            codes = perturbed.mechanism.perturb(perturbed.domain.encode(columns[perturbed.column.name]), uniforms)
            columns[perturbed.column.name] = perturbed.domain.decode(codes)
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
        for perturbed, uniform in zip(self._perturbed, uniforms, strict=True):
            code = perturbed.mechanism.perturb_one(
                perturbed.domain.encode_one(released[perturbed.column.name]), uniform
            )
            released[perturbed.column.name] = perturbed.domain.values[code]
        for name in self._removed:
            released[name] = None
        return released

    def describe(self) -> dict[str, object]:
        """The budget and how it is split, the privacy unit, and what the guarantee does not cover."""
        touched = {*self._removed, *(perturbed.column.name for perturbed in self._perturbed)}
        return {
            "method": Method.DIFFERENTIAL_PRIVACY.value,
            "scope": self.scope.value,
            "model": "local",
            "epsilon": self._settings.epsilon,
            "epsilon_of_field": {perturbed.column.name: perturbed.mechanism.epsilon for perturbed in self._perturbed},
            "mechanism_of_field": {
                perturbed.column.name: type(perturbed.mechanism).__name__ for perturbed in self._perturbed
            },
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
