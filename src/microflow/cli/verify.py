"""``microflow verify``: is a file k-anonymous?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import polars as pl

from microflow.cli.options import FILE
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.ingest import Quarantine, read_microflows
from microflow.schema import DatasetSchema, Dtype, Role, SourceFormat

__all__ = ["class_sizes", "verify"]

#: Microflows counted together before they are merged: fewer merges, bounded memory.
GROUP = 200


@click.command()
@click.argument("file", type=FILE)
@click.option("--schema", required=True, help="Whose quasi-identifiers: a shipped name, or your YAML file.")
@click.option("--k", type=click.IntRange(2), default=5, show_default=True)
def verify(file: Path, schema: str, k: int) -> None:
    """Count the equivalence classes of a released FILE and say whether the smallest has K rows.

    \b
    Example:
      microflow verify out.csv --schema adult --k 5

    Exit status: 0 it is k-anonymous, 1 it is not, 2 it cannot be read.
    """
    described = load_schema(schema)
    sizes = class_sizes(file, described)
    if sizes.is_empty():
        raise InputError("there are no rows to verify", path=file)
    counts = sizes["rows"].to_numpy()
    smallest, classes, rows = int(counts.min()), len(counts), int(counts.sum())
    if smallest >= k:
        click.echo(f"{k}-anonymous: {rows:,} rows in {classes:,} classes, the smallest has {smallest}")
        return
    small = sizes.filter(pl.col("rows") < k)
    click.echo(
        f"not {k}-anonymous: the smallest of {classes:,} classes has {smallest} row{'s' * (smallest > 1)};"
        f" {len(small):,} classes with {int(small['rows'].sum()):,} rows are below {k}"
    )
    raise click.exceptions.Exit(1)


def class_sizes(file: Path, schema: DatasetSchema) -> pl.DataFrame:
    """The number of ``rows`` of every combination of quasi-identifiers; null is a value.

    Raises:
        InputError: the file cannot be read, holds unusable rows, or the schema has no quasi-identifier.
    """
    names = [column.name for column in schema.quasi_identifiers]
    if not names:
        raise InputError(f"schema {schema.name!r} has no quasi-identifier", hint="give a column that role")
    counted: list[pl.DataFrame] = []
    for part in _parts(file, schema, names):
        counted.append(part.group_by(names).agg(pl.len().cast(pl.Int64).alias("rows")))
        if len(counted) == GROUP:
            counted = [_merged(counted, names)]
    return _merged(counted, names) if counted else pl.DataFrame({"rows": []}, {"rows": pl.Int64})


def _merged(counted: list[pl.DataFrame], names: list[str]) -> pl.DataFrame:
    return pl.concat(counted).group_by(names).agg(pl.col("rows").sum())


def _parts(file: Path, schema: DatasetSchema, names: list[str]) -> Iterator[pl.DataFrame]:
    """The quasi-identifiers as text, as a release writes them, whatever their type was before."""
    quarantine = Quarantine()
    for flow in read_microflows(file, _as_released(schema), quarantine=quarantine):
        yield pl.DataFrame(flow.rows.select(names))
    if quarantine.total:
        reason, count = quarantine.counts.most_common(1)[0]
        raise InputError(f"{quarantine.total} rows cannot be read ({count}: {reason})", path=file)


def _as_released(schema: DatasetSchema) -> DatasetSchema:
    """The same columns holding any text: generalised values are no numbers, and a release spells null as empty."""
    columns = tuple(
        replace(column, dtype=Dtype.STRING, required=False, role=_without_id(column.role)) for column in schema.columns
    )
    return replace(schema, columns=columns, source=SourceFormat())


def _without_id(role: Role) -> Role:
    return Role.ATTRIBUTE if role is Role.RECORD_ID else role
