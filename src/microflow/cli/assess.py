"""``microflow assess``: what a released file gives away, and what it has lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pyarrow as pa

from microflow.cli.options import FILE, OUTPUT, schema_option
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.schema import DatasetSchema, Role
from microflow.sources import Quarantine, read_microflows
from microflow.whole_file import write_whole

if TYPE_CHECKING:
    from microflow.assess import Assessment

__all__ = ["assess", "compare_files"]


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

    Rows are told apart by their record id; without one, files of equal length are compared row by row.

    \b
    Examples:
      microflow assess adult.csv out.csv --schema adult
      microflow assess visits.parquet out.parquet --schema healthcare --json risk.json
      microflow assess members.csv out.csv --schema adult --control others.csv
    """
    from microflow.assess import render

    if json_file is not None:
        require_free(json_file, (original, released, control or original, schema), replaces=b"{")
    found = compare_files(original, released, schema, control=control, attempts=attempts, seed=seed)
    click.echo(render(found))
    if json_file is not None:
        write_whole(json_file, json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")


def compare_files(
    original: Path, released: Path, schema: str, *, control: Path | None = None, attempts: int = 1_000, seed: int = 1
) -> Assessment:
    """Measure a released file against its original, and its members against a control of others."""
    from microflow.assess import align, needed_columns
    from microflow.assess import assess as measure

    described = load_schema(schema)
    names = needed_columns(described)
    before = _table(original, described, names)
    after = _table(released, described.released(Role.RECORD_ID, Role.SENSITIVE), names, is_whole=True)
    others = None if control is None else _table(control, described, names)
    ordinals = align(described, before, after)
    return measure(before, after, ordinals, described, control=others, attempts=attempts, seed=seed)


def _table(path: Path, schema: DatasetSchema, names: list[str], *, is_whole: bool = False) -> pa.Table:
    """The rows that the pipeline would accept, too; of a release all of them."""
    with Quarantine() as quarantine:
        flows = [flow.rows.select(names) for flow in read_microflows(path, schema, quarantine=quarantine)]
    if is_whole:
        quarantine.require_none(path)
    if not flows:
        raise InputError("there are no rows to assess", path=path)
    return pa.Table.from_batches(flows)
