"""``microflow verify``: is a file k-anonymous?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import polars as pl

from microflow.cli.options import FILE, OUTPUT
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.schema import DatasetSchema
from microflow.sinks.whole_file import write_whole
from microflow.sources import Quarantine, read_microflows
from microflow.sources.files import STANDARD

__all__ = ["class_sizes", "verify"]

#: Microflows counted together before they are merged: fewer merges, bounded memory.
GROUP = 200

#: Names that no column of a file has.
_ROWS, _MEMBERS = "\0rows", "\0members"


@click.command()
@click.argument("file", type=FILE)
@click.option("--schema", required=True, help="Whose quasi-identifiers: a shipped name, or your YAML file.")
@click.option("--k", type=click.IntRange(2), default=5, show_default=True)
@click.option("--json", "json_file", type=OUTPUT, is_flag=False, flag_value=STANDARD, metavar="[FILE]",
              help="Print what was counted as JSON, or write it to FILE as well.")  # fmt: skip
@click.option("--certificate", type=FILE, help="Also check that FILE is the release that was certified, to the byte.")
def verify(file: Path, schema: str, k: int, json_file: Path | None, certificate: Path | None) -> None:
    """Count the equivalence classes of a released FILE and say whether the smallest has K persons.

    Where the schema has a column of role person, its distinct values are counted; otherwise every row is taken for a
    person.

    \b
    Example:
      microflow verify out.csv --schema adult --k 5

    Exit status: 0 it is k-anonymous, 1 it is not, 2 it cannot be read.
    """
    as_json = str(json_file) == STANDARD
    if json_file is not None and not as_json:
        require_free(json_file, (file, schema, certificate or STANDARD), replaces=b"{")
    described = load_schema(schema)
    sizes, unit = class_sizes(file, described)
    if sizes.is_empty():
        raise InputError("there are no rows to verify", path=file)
    if unit == "row" and described.person is not None:
        click.echo(f"column {described.person!r} is empty: rows are counted, and k of persons may be less", err=True)
    counts = sizes["members"].to_numpy()
    small = sizes.filter(pl.col("members") < k)
    smallest, rows, rows_below = int(counts.min()), int(sizes["rows"].sum()), int(small["rows"].sum())
    found = {
        "k": smallest,
        "required_k": k,
        "satisfied": small.is_empty(),
        "unit": unit,
        "rows": rows,
        "classes": len(counts),
        "classes_below": len(small),
        "rows_below": rows_below,
    }
    if json_file is not None and not as_json:
        write_whole(json_file, json.dumps(found, indent=2) + "\n")
    certified = None if certificate is None else _certified(certificate, file, {"rows": rows, "k": smallest})
    if as_json:
        click.echo(json.dumps(found if certified is None else {**found, "certified": certified}, indent=2))
    else:
        click.echo("\n".join(filter(None, (certified and f"certified: {certified}", _text(found)))))
    if not found["satisfied"]:
        raise click.exceptions.Exit(1)


def _text(found: dict[str, Any]) -> str:
    k, required, unit = found["k"], found["required_k"], found["unit"]
    members = unit if k == 1 else f"{unit}s"
    if found["satisfied"]:
        counts = f"{found['rows']:,} rows in {found['classes']:,} classes"
        return f"{required}-anonymous: {counts}, the smallest has {k} {members}"
    return (
        f"not {required}-anonymous: the smallest of {found['classes']:,} classes has {k} {members};"
        f" {found['classes_below']:,} classes with {found['rows_below']:,} rows are below {required}"
    )


def _certified(certificate: Path, file: Path, counted: dict[str, int]) -> str:
    """What is guaranteed of a release, which is the certified one.

    Raises:
        CertificateError: the certificate was changed, or the release is another; exit status 1.
    """
    from microflow.advise.certificate import CertificateError, mismatches, read_certificate

    document = read_certificate(certificate)
    if found := mismatches(document, file, counted):
        raise CertificateError("; ".join(found), hint="this is not the release that was certified")
    return str(document["guarantee"]["text"])


def class_sizes(file: Path, schema: DatasetSchema) -> tuple[pl.DataFrame, str]:
    """The ``rows`` and ``members`` of every combination of quasi-identifiers; null is a value. And their unit.

    Members are the distinct persons where the schema has a column of role person, and the rows otherwise. Rows whose
    person is missing count as one person together, so that k is never overstated; where no row names a person, as after
    a method that removes identifiers, rows are counted and the unit is ``row``.

    Raises:
        InputError: the file cannot be read, holds unusable rows, or the schema has no quasi-identifier.
    """
    names = [column.name for column in schema.quasi_identifiers]
    if not names:
        raise InputError(f"schema {schema.name!r} has no quasi-identifier", hint="give a column that role")
    keys = names if schema.person is None else [*names, schema.person]
    counted: list[pl.DataFrame] = []
    for part in _parts(file, schema, keys):
        counted.append(part.group_by(keys).agg(pl.len().cast(pl.Int64).alias(_ROWS)))
        if len(counted) == GROUP:
            counted = [_merged(counted, keys)]
    if not counted:
        return pl.DataFrame({"rows": [], "members": []}, {"rows": pl.Int64, "members": pl.Int64}), "row"
    merged = _merged(counted, keys)
    by_person = schema.person is not None and merged[schema.person].null_count() < len(merged)
    members = pl.len().cast(pl.Int64) if by_person else pl.col(_ROWS).sum()
    classes = merged.group_by(names).agg(pl.col(_ROWS).sum(), members.alias(_MEMBERS))
    return classes.select(pl.col(_ROWS).alias("rows"), pl.col(_MEMBERS).alias("members")), (
        "person" if by_person else "row"
    )


def _merged(counted: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    return pl.concat(counted).group_by(keys).agg(pl.col(_ROWS).sum())


def _parts(file: Path, schema: DatasetSchema, names: list[str]) -> Iterator[pl.DataFrame]:
    """Quasi-identifiers and person as text, as a release writes them, whatever their type was before."""
    quarantine = Quarantine()
    for flow in read_microflows(file, schema.released(), quarantine=quarantine):
        yield pl.DataFrame(flow.rows.select(names))
    quarantine.require_none(file)
