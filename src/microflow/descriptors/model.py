"""The document that a descriptor is: what may be written, for the reader and, as a JSON Schema, for editors.

The descriptions are those of docs/descriptor.md and of the JSON Schema, which ``python tests/descriptors/reference.py``
writes.
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
    """How files of this data set are written."""

    delimiter: Annotated[
        str | None, Meta(description="One character; by default a comma, and a tab in files named `.tsv`.")
    ] = None
    quote: Annotated[str | None, Meta(description="One character, or `null` where nothing is quoted.")] = '"'
    encoding: Annotated[
        str, Meta(description="One that Python knows, such as `cp1252`; a byte order mark overrides it.")
    ] = "utf-8"
    decimal: Annotated[str, Meta(description="`.` or `,`, for all numbers without a `format`.")] = "."
    header: Annotated[bool, Meta(description="Whether the first line names the columns.")] = True
    trim: Annotated[bool, Meta(description="Whether blanks around values are dropped.")] = False
    missing: Annotated[list[str], Meta(description="What else than the empty text means an absent value.")] = []
    sheet: Annotated[str, Meta(description="The sheet of a spreadsheet that is meant, where several hold rows.")] = ""


class HierarchyModel(msgspec.Struct):
    """How values are generalised step by step: either `prefix` or `tree`."""

    prefix: Annotated[
        list[_Length] | None, Meta(description="How many characters stay at each step, as `[5, 3, 0]` of a ZIP code.")
    ] = None
    tree: Annotated[
        Any, Meta(description="Nested groups with one root, as `{any: {office: [clerk], other: [cook]}}`.")
    ] = None


class ColumnModel(msgspec.Struct):
    """One column, under its name."""

    role: Annotated[Role, Meta(description="What it is to a person's privacy; see below.")] = Role.ATTRIBUTE
    dtype: Annotated[Dtype, Meta(description="How its values are held.")] = msgspec.field(
        default=Dtype.STRING, name="type"
    )
    kind: Annotated[_Kind | None, Meta(description="What it holds, for the rules of policies.")] = None
    format: Annotated[
        str | None,
        Meta(description="How its values are written, as `MM/DD/YYYY`, `$1,234.50` or `Y/N`, where not plainly."),
    ] = None
    low: Annotated[int | float | None, Meta(description="The least value that is public, of a number.")] = None
    high: Annotated[int | float | None, Meta(description="The greatest value that is public.")] = None
    categories: Annotated[list[str], Meta(description="All values that there may be, where they are public.")] = []
    ordered: Annotated[bool, Meta(description="Whether the categories are in order, lowest first.")] = False
    hierarchy: Annotated[HierarchyModel | None, Meta(description="How values are generalised.")] = None
    required: Annotated[bool, Meta(description="Whether a row without it is quarantined.")] = False
    share: Annotated[
        float, Meta(gt=0, description="Its part of a record's privacy budget, relative to other columns.")
    ] = 1.0
    token_domain: Annotated[
        str | None, Meta(description="Columns of one domain, of any file, give the same token for the same value.")
    ] = None


class UrgencyModel(msgspec.Struct):
    """One reason for which a record is urgent, of a column or a kind."""

    kind: Annotated[_Kind | None, Meta(description="Of the first column of this kind.")] = None
    column: Annotated[str | None, Meta(description="Of this column.")] = None
    one_of: Annotated[list[str], Meta(description="Urgent are these values.")] = []
    at_least: Annotated[int | float | str | None, Meta(description="Urgent is this value, and what is above it.")] = (
        None
    )
    within_days: Annotated[int | None, Meta(description="Urgent is a date at most so many days ahead.")] = None


class DescriptorModel(msgspec.Struct):
    """A data set."""

    columns: Annotated[
        dict[str, ColumnModel],
        Meta(description='By name; a name given twice in a header is `zip` and `zip#2`, no name is `""`.'),
    ]
    name: Annotated[str | None, Meta(description="By default the name of the descriptor's file.")] = None
    title: Annotated[str | None, Meta(description="For people.")] = None
    policy: Annotated[str, Meta(description="The name of a policy that ships, or a path.")] = "combined"
    source: Annotated[SourceModel, Meta(description="How files are written.")] = msgspec.field(
        default_factory=SourceModel
    )
    others: Annotated[Others, Meta(description="What is done with columns of a file that are not described.")] = (
        "refuse"
    )
    unlisted: Annotated[
        Unlisted,
        Meta(
            description="What is done with columns of the role `attribute`: they pass, are blanked, or are treated as"
            " quasi-identifiers (as identifiers, where the method makes tokens)."
        ),
    ] = "pass"
    urgent: Annotated[
        list[UrgencyModel] | None,
        Meta(description="Which records a live pipeline takes first; by default those of the kind `urgency`."),
    ] = None
