"""The schema of a data set: the role, kind, type and public domain of each column.

A *descriptor* is a YAML file (``microflow/descriptors/*.yaml`` ships five). It maps column names to a `Column`: the
role decides what happens to it, the kind tells policies what it holds, the rest is the public domain that
anonymizers may rely on. Values travel as Arrow columns; dates, times and time stamps travel as ISO 8601 text
(``YYYY``, ``YYYY-MM``, ``YYYY-MM-DD``; ``HH:MM:SS``; ``YYYY-MM-DDTHH:MM:SSZ``), because a remedy may shorten one and
text order is time order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal

import pyarrow as pa

from microflow.errors import SchemaError

__all__ = [
    "ISO_DATE", "KINDS", "NAMES_A_PERSON", "PASSING", "PERSON_WORD", "WHOLE_DATE", "Column", "DatasetSchema", "Dtype",
    "Hierarchy", "Record", "Role", "SourceFormat", "Value", "named_like_persons", "words_of",
]  # fmt: skip

#: What one field of one record may hold, after ingest.
Value = str | int | float | bool | None
#: One record of a stream: column name to a value of its column's type, or ``None``.
Record = dict[str, Value]

#: What a column can hold, for policies to name: the identifiers of 45 CFR 164.514(b)(2)(i)(A)-(R), what payment cards
#: add, and what the rules on consent, retention, location and transfer read. ``code`` is a random key that says
#: nothing about the person (164.514(c)).
KINDS = frozenset(
    """name street_address city zip date age phone fax email ssn mrn health_plan_id account license vehicle device url
    ip biometric photo unique_id county precinct geocode national_id code pan cvv latitude longitude country amount
    urgency consent_status consent_expires retain_until collected_on legal_basis special_category transfer_country
    transfer_basis""".split()  # noqa: SIM905
)


class Role(StrEnum):
    """Role of a column: its meaning for a person's privacy (ISO/IEC 20889, section 3)."""

    RECORD_ID = "record_id"
    """Identifies the record, not the person; passes unchanged and is never treated as an identifier of a person."""
    IDENTIFIER = "identifier"
    """Identifies a person alone: removed or tokenized by every method."""
    PERSON = "person"
    """An identifier that is the same in all rows of one person: k counts its distinct values instead of rows."""
    QUASI_IDENTIFIER = "quasi_identifier"
    """Identifies a person together with other columns: generalised or perturbed."""
    SENSITIVE = "sensitive"
    """A value that an attacker wants to learn."""
    CONSENT = "consent"
    """The person's consent; passes unless a rule names its kind."""
    RETENTION = "retention"
    """The time for which the record may be kept; passes unless a rule names its kind."""
    FREE_TEXT = "free_text"
    """Prose that may contain identifiers."""
    ATTRIBUTE = "attribute"
    """Any other column; passes unless a rule names its kind."""
    UNDECIDED = "undecided"
    """Not decided yet: a job refuses to start until a person has chosen the role."""


#: Roles of columns that pass whatever the method is; rules of a policy may touch them.
PASSING = (Role.ATTRIBUTE, Role.CONSENT, Role.RETENTION)


class Dtype(StrEnum):
    """Type of a column's values."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    """A time of the day."""
    TIMESTAMP = "timestamp"
    """A day with its time, in UTC where the source names a zone; a shortened one is a date."""

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of a column of this kind: dates and times are text."""
        return _ARROW.get(self, pa.string())


_ARROW = {Dtype.INTEGER: pa.int64(), Dtype.NUMBER: pa.float64(), Dtype.BOOLEAN: pa.bool_()}
#: What happens to columns of a file that have no description.
Others = Literal["refuse", "drop", "pass"]
#: What happens to columns with the role attribute.
Unlisted = Literal["pass", "drop", "treat"]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Generalisation hierarchy: exactly one of the two is set.

    ``prefix``: lengths of text kept, finest first, e.g. ``(5, 3, 0)`` for ZIP codes.
    ``parents``: child label to parent label, up to one root that has no parent.
    """

    prefix: tuple[int, ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)

    def path(self, label: str) -> list[str]:
        """The label and its ancestors, nearest first; alone where it has no parent.

        >>> Hierarchy(parents={"FR": "West", "West": "EU"}).path("FR")
        ['FR', 'West', 'EU']
        """
        nodes = [label]
        while (parent := self.parents.get(nodes[-1])) is not None and parent not in nodes:
            nodes.append(parent)
        return nodes


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``low``/``high`` and ``categories`` are *public* bounds: differential privacy may use no others."""

    name: str
    role: Role = Role.ATTRIBUTE
    dtype: Dtype = Dtype.STRING
    kind: str | None = None
    low: int | float | None = None
    high: int | float | None = None
    categories: tuple[str, ...] = ()
    ordered: bool = False
    hierarchy: Hierarchy | None = None
    required: bool = False
    share: float = 1.0
    """Its part of a record's privacy budget, relative to the other perturbed columns."""
    format: str | None = None
    """How a source writes its values where that is not the plain form; see `microflow.formats`."""
    token_domain: str | None = None
    """Columns of one domain give the same token for the same value; by default each column has its own."""

    @property
    def is_numeric(self) -> bool:
        """True if values have a distance (integers and numbers)."""
        return self.dtype in (Dtype.INTEGER, Dtype.NUMBER)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """``low`` and ``high`` of a numeric column, where both are public."""
        return (self.low, self.high) if self.is_numeric and self.low is not None and self.high is not None else None


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """Format of the files of a data set.

    ``missing`` spells an absent value besides the empty text, in every format; all else is for delimited text.
    ``delimiter`` is one character; by default a tab in files named ``.tsv``, and a comma in others. ``quote`` is one
    character, or none. An ``encoding`` is one that Python knows; a byte order mark overrides it.
    ``sheet`` names that of a spreadsheet which is meant, where several hold rows.
    """

    delimiter: str = ""
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    trim: bool = False
    missing: frozenset[str] = frozenset()
    sheet: str = ""

    def of(self, place: object) -> SourceFormat:
        """The format of one file: with the delimiter that its name tells where none is described."""
        return self if self.delimiter else replace(self, delimiter="\t" if _TABS.search(str(place)) else ",")


_TABS = re.compile(r"\.tsv(?:\.gz|\.zst)?$", re.IGNORECASE)


#: What an urgency rule may say of a value.
URGENCY_CONDITIONS = ("one_of", "at_least", "within_days")


@dataclass(frozen=True, slots=True)
class UrgencyRule:
    """Urgency rule: a kind of column or one column's name, and exactly one condition on its value.

    Raises:
        SchemaError: neither or both are given.
    """

    kind: str | None = None
    column: str | None = None
    one_of: tuple[str, ...] = ()
    at_least: float | str | None = None
    within_days: int | None = None

    def __post_init__(self) -> None:
        conditions = bool(self.one_of) + (self.at_least is not None) + (self.within_days is not None)
        if (self.kind is None) == (self.column is None) or conditions != 1:
            raise SchemaError(
                "an urgency rule names a kind or a column, and one condition",
                hint=f"conditions are: {', '.join(URGENCY_CONDITIONS)}",
            )

    def columns(self, schema: DatasetSchema) -> tuple[Column, ...]:
        """The columns of this data set it speaks of."""
        return (schema[self.column],) if self.column is not None else schema.with_kind(self.kind or "")


DEFAULT_URGENCY = (UrgencyRule(kind="urgency", at_least="emergency"),)


@dataclass(frozen=True)
class DatasetSchema:
    """A described data set: its columns in file order, and the policy it is checked against by default."""

    name: str
    columns: tuple[Column, ...]
    policy: str
    title: str = ""
    source: SourceFormat = field(default_factory=SourceFormat)
    others: Others = "refuse"
    unlisted: Unlisted = "pass"
    urgent: tuple[UrgencyRule, ...] = DEFAULT_URGENCY

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise SchemaError(f"schema {self.name!r}: column {doubled[0]!r} is described twice")
        for role in (Role.RECORD_ID, Role.PERSON):
            if len(self.with_role(role)) > 1:
                raise SchemaError(f"schema {self.name!r}: more than one column has the role {role}")

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of every microflow of this data set."""
        return pa.schema([pa.field(column.name, column.dtype.arrow) for column in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(column.name for column in self.columns)

    def with_role(self, *roles: Role) -> tuple[Column, ...]:
        """The columns that have one of these roles, in file order."""
        return tuple(column for column in self.columns if column.role in roles)

    def with_kind(self, *kinds: str) -> tuple[Column, ...]:
        """The columns that hold one of these kinds, in file order."""
        return tuple(column for column in self.columns if column.kind in kinds)

    def require_decided(self) -> None:
        """Refuse to work on columns whose role is undecided.

        Raises:
            SchemaError: some column is undecided; all of them are named.
        """
        if undecided := [column.name for column in self.with_role(Role.UNDECIDED)]:
            raise SchemaError(
                f"schema {self.name!r}: the role of {', '.join(map(repr, undecided))} is undecided",
                hint="say for each what it is: identifier, quasi_identifier, sensitive, free_text or attribute",
            )

    def released(self, *typed: Role) -> DatasetSchema:
        """Schema of a release of this data set: plain, with a header, and as text, since labels and tokens are.

        Args:
            typed: Roles whose columns have the type they had before.
        """
        columns = (
            replace(
                column,
                dtype=column.dtype if column.role in typed else Dtype.STRING,
                role=Role.ATTRIBUTE if column.role is Role.RECORD_ID and column.role not in typed else column.role,
                required=False,
                # Whatever the source wrote, a release has the plain form.
                format=None,
            )
            for column in self.columns
        )
        return replace(self, columns=tuple(columns), source=SourceFormat())

    @property
    def quasi_identifiers(self) -> tuple[Column, ...]:
        """The columns an attacker may know, in file order."""
        return self.with_role(Role.QUASI_IDENTIFIER)

    @property
    def identifiers(self) -> tuple[Column, ...]:
        """The columns that single a person out on their own (roles identifier and person), in file order."""
        return self.with_role(Role.IDENTIFIER, Role.PERSON)

    @property
    def person(self) -> str | None:
        """The column that says which rows are one person's; without one every row is taken for a person."""
        return next((column.name for column in self.with_role(Role.PERSON)), None)

    @property
    def record_id(self) -> str | None:
        """The column that names a record; without one a record is named by its ordinal in the input."""
        return next((column.name for column in self.with_role(Role.RECORD_ID)), None)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"schema {self.name!r} has no column {name!r}", hint=f"columns are: {', '.join(self.names)}")


#: What ``Dtype.DATE`` accepts, besides that the day must exist; years from 1, and ASCII digits only, so that every
#: reader agrees (the pattern means the same to Python and to RE2).
ISO_DATE = re.compile(
    r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
    r"(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?)?",
    re.ASCII,
)
#: Letters of a date with its day; a shorter one names no day that might not exist.
WHOLE_DATE = len("2021-03-14")

# What the name of a column says

NUMBER_WORD = "(?:id|ids|key|no|num|nr|number|nbr|uuid|guid|code|ref|identifier|pk|sk)"
PERSON_WORD = (
    "(?:patient|person|pat|subject|member|customer|cust|client|user|beneficiary|bene|insured|employee|emp|student|"
    "voter|applicant|borrower|cardholder|individual|participant|respondent|citizen|passenger|owner|subscriber|people|"
    "defendant|inmate|donor|resident|contact)"
)
#: Words of the name of a column that holds a key of persons.
NAMES_A_PERSON = re.compile(
    rf" {PERSON_WORD}(?: source| value)*(?: {NUMBER_WORD}| number)* $| {PERSON_WORD} {NUMBER_WORD} "
)


def words_of(name: str) -> str:
    """The words of a column's name in lower case, blanks between and around them.

    >>> words_of("BirthDate"), words_of("Rndrng_NPI"), words_of("pat-first_name2")
    (' birth date ', ' rndrng npi ', ' pat first name 2 ')
    """
    found = re.findall(r"[A-ZÀ-Þ]+(?![a-zß-ÿ])|[A-ZÀ-Þ]?[a-zß-ÿ]+|[0-9]+|[^\W\d_]+", name)
    return f" {' '.join(found).lower()} "


def named_like_persons(names: Iterable[str]) -> list[str]:
    """The names that say that a column tells persons apart.

    >>> named_like_persons(["patient_id", "visit_id", "CustomerNo", "client"])
    ['patient_id', 'CustomerNo', 'client']
    """
    return [name for name in names if NAMES_A_PERSON.search(words_of(name))]
