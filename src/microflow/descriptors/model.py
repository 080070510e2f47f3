"""Model of the descriptor document: the keys that it may contain, for the reader and, as a JSON Schema, for editors.

``python tests/descriptors/reference.py`` writes docs/descriptor.md and the JSON Schema with these descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from microflow.schema import KINDS, Dtype, Others, Role, Unlisted

__all__ = ["ColumnModel", "DescriptorModel", "HierarchyModel", "SourceModel", "UrgencyModel"]

_Kind = Annotated[str, Meta(extra_json_schema={"enum": sorted(KINDS)})]
_Length = Annotated[int, Meta(ge=0, le=1_000)]


class SourceModel(msgspec.Struct):
    """Format of the files of a data set: the section ``source:``."""

    delimiter: Annotated[
        str | None, Meta(description="One character; by default a comma, or a tab in files named `.tsv`.")
    ] = None
    quote: Annotated[str | None, Meta(description="One character, or `null` if values are never quoted.")] = '"'
    encoding: Annotated[
        str, Meta(description="An encoding that Python knows, such as `cp1252`; a byte order mark has priority.")
    ] = "utf-8"
    decimal: Annotated[
        str, Meta(description="The decimal separator of all numbers without a `format`: `.` or `,`.")
    ] = "."
    header: Annotated[bool, Meta(description="Whether the first line contains the names of the columns.")] = True
    trim: Annotated[bool, Meta(description="Whether blanks before and after values are removed.")] = False
    missing: Annotated[list[str], Meta(description="Texts that mean a missing value, besides the empty text.")] = []
    sheet: Annotated[str, Meta(description="The sheet to read, if several sheets of a spreadsheet contain rows.")] = ""


class HierarchyModel(msgspec.Struct):
    """Generalisation hierarchy of a column: either `prefix` or `tree`."""

    prefix: Annotated[
        list[_Length] | None, Meta(description="How many characters remain at each step: `[5, 3, 0]` for ZIP codes.")
    ] = None
    tree: Annotated[
        Any, Meta(description="Nested groups with one root: `{any: {office: [clerk], other: [cook]}}`.")
    ] = None


class ColumnModel(msgspec.Struct):
    """Description of a column, under its name."""

    role: Annotated[Role, Meta(description="The column's meaning for privacy: one of the roles below.")] = (
        Role.ATTRIBUTE
    )
    dtype: Annotated[Dtype, Meta(description="The type of the values.")] = msgspec.field(
        default=Dtype.STRING, name="type"
    )
    kind: Annotated[_Kind | None, Meta(description="The kind of information; the rules of policies refer to it.")] = (
        None
    )
    format: Annotated[
        str | None,
        Meta(description="How the values are written, if not in the plain form: `MM/DD/YYYY`, `$1,234.50`, `Y/N`."),
    ] = None
    low: Annotated[int | float | None, Meta(description="The smallest possible number, if it is publicly known.")] = (
        None
    )
    high: Annotated[int | float | None, Meta(description="The largest possible number, if it is publicly known.")] = (
        None
    )
    categories: Annotated[list[str], Meta(description="All possible values, if they are publicly known.")] = []
    ordered: Annotated[bool, Meta(description="Whether the categories are sorted, lowest first.")] = False
    hierarchy: Annotated[HierarchyModel | None, Meta(description="How values are generalised, step by step.")] = None
    required: Annotated[bool, Meta(description="Whether a row without a value here is quarantined.")] = False
    share: Annotated[
        float, Meta(gt=0, description="The column's part of a record's privacy budget, relative to other columns.")
    ] = 1.0
    token_domain: Annotated[
        str | None,
        Meta(description="Columns of one domain, also in other files, have the same token for the same value."),
    ] = None


class UrgencyModel(msgspec.Struct):
    """Urgency rule: a condition on a column, or on the columns of a kind, that makes a record urgent."""

    kind: Annotated[_Kind | None, Meta(description="The columns of this kind.")] = None
    column: Annotated[str | None, Meta(description="The column of this name.")] = None
    one_of: Annotated[list[str], Meta(description="These values are urgent.")] = []
    at_least: Annotated[
        int | float | str | None, Meta(description="This value and all values above it are urgent.")
    ] = None
    within_days: Annotated[
        int | None, Meta(description="A date at most so many days after the policy's reference date is urgent.")
    ] = None


class DescriptorModel(msgspec.Struct):
    """Description of a data set: the whole document."""

    columns: Annotated[
        dict[str, ColumnModel],
        Meta(description='By name. A repeated name in a header becomes `zip#2`, an empty name `""`.'),
    ]
    name: Annotated[str | None, Meta(description="The name of the data set; by default that of the file.")] = None
    title: Annotated[str | None, Meta(description="A title for readers.")] = None
    policy: Annotated[str, Meta(description="The name of a policy of Microflow, or a path.")] = "combined"
    source: Annotated[SourceModel, Meta(description="How the files are written.")] = msgspec.field(
        default_factory=SourceModel
    )
    others: Annotated[Others, Meta(description="What happens to columns that are not described.")] = "refuse"
    unlisted: Annotated[
        Unlisted,
        Meta(
            description="What happens to columns of the role `attribute`: they pass unchanged, are emptied, or are"
            " treated as quasi-identifiers (by tokenization, as identifiers)."
        ),
    ] = "pass"
    urgent: Annotated[
        list[UrgencyModel] | None,
        Meta(
            description="The records that a stream processes first; by default the emergencies of the kind `urgency`."
        ),
    ] = None
