"""The document that a descriptor is: what may be written, for the reader and, as a JSON Schema, for editors."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from microflow.schema import KINDS, Dtype, Others, Role, Unlisted

__all__ = ["ColumnModel", "DescriptorModel", "HierarchyModel", "SourceModel", "UrgencyModel", "descriptor_json_schema"]

_Kind = Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(KINDS)})]
_Share = Annotated[float, msgspec.Meta(gt=0)]
_Length = Annotated[int, msgspec.Meta(ge=0, le=1_000)]


class SourceModel(msgspec.Struct):
    """``source:``; see `microflow.schema.SourceFormat`. ``decimal`` is a comma or a point, for all numbers."""

    delimiter: str | None = None
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    header: bool = True
    trim: bool = False
    missing: list[str] = []
    sheet: str = ""


class HierarchyModel(msgspec.Struct):
    """``hierarchy:``, either lengths of a prefix or a tree of ``{root: {group: [value, ...]}}``."""

    prefix: list[_Length] | None = None
    tree: Any = None


class ColumnModel(msgspec.Struct):
    """One entry of ``columns:``; see `microflow.schema.Column`."""

    role: Role = Role.ATTRIBUTE
    dtype: Dtype = msgspec.field(default=Dtype.STRING, name="type")
    kind: _Kind | None = None
    format: str | None = None
    low: int | float | None = None
    high: int | float | None = None
    categories: list[str] = []
    ordered: bool = False
    hierarchy: HierarchyModel | None = None
    required: bool = False
    share: _Share = 1.0
    token_domain: str | None = None


class UrgencyModel(msgspec.Struct):
    """One entry of ``urgent:``; see `microflow.schema.UrgencyRule`."""

    kind: _Kind | None = None
    column: str | None = None
    one_of: list[str] = []
    at_least: int | float | str | None = None
    within_days: int | None = None


class DescriptorModel(msgspec.Struct):
    """A whole descriptor; see `microflow.schema.DatasetSchema`."""

    columns: dict[str, ColumnModel]
    name: str | None = None
    title: str | None = None
    policy: str = "combined"
    source: SourceModel = msgspec.field(default_factory=SourceModel)
    others: Others = "refuse"
    unlisted: Unlisted = "pass"
    urgent: list[UrgencyModel] | None = None


def descriptor_json_schema() -> dict[str, Any]:
    """The JSON Schema of descriptors."""
    return msgspec.json.schema(DescriptorModel)
