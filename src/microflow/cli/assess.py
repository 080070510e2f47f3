"""``microflow assess`` and ``verify``: what a released file gives away, has lost, and whether it is k-anonymous."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import polars as pl

from microflow.cli.options import FILE, OUTPUT, busy, schema_option
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.sinks.whole_file import write_whole
from microflow.sources.files import STANDARD

__all__ = ["assess", "verify"]


@click.command()
@click.argument("original", type=FILE)
@click.argument("released", type=FILE)
@schema_option
@click.option("--control", type=FILE, help="Others of the same population, not in the release: who is in it?")
@click.option("--json", "json_file", type=OUTPUT, help="Also write everything measured here.")
@click.option("--attempts", type=click.IntRange(10), default=1_000, show_default=True, help="Targets of each attack.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the targets, guesses and training rows.")
def assess(
    *,
    original: Path,
    released: Path,
    schema: str,
    control: Path | None,
    json_file: Path | None,
    attempts: int,
    seed: int,
) -> None:
    """Attack a RELEASED file with what is known from its ORIGINAL, and compare the two.

    Rows are matched by their record id; without one, files of equal length are compared row by row.

    \b
    Examples:
      microflow assess adult.csv out.csv --schema adult
      microflow assess visits.parquet out.parquet --schema healthcare --json risk.json
      microflow assess members.csv out.csv --schema adult --control others.csv
    """
    from microflow.advise.release import compare_files
    from microflow.assess import render

    if json_file is not None:
        require_free(json_file, (original, released, control or original, schema), replaces=b"{")
    described = load_schema(schema)
    with busy("attacking the release"):
        found = compare_files(original, released, described, control=control, attempts=attempts, seed=seed)
    click.echo(render(found))
    if json_file is not None:
        write_whole(json_file, json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")


@click.command()
@click.argument("file", type=FILE)
@schema_option
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
    from microflow.advise.release import certified, class_sizes

    as_json = str(json_file) == STANDARD
    if json_file is not None and not as_json:
        require_free(json_file, (file, schema, certificate or STANDARD), replaces=b"{")
    described = load_schema(schema)
    with busy("counting classes"):
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
    text = _text(found)
    if certificate is not None:
        document = certified(certificate, file, described, {"rows": rows, "k": smallest})
        found["certified"] = document["guarantee"]["text"]
        text = f"certified: {found['certified']}\n{text}"
    click.echo(json.dumps(found, indent=2) if as_json else text)
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
