"""``microflow assess`` and ``verify``: attacks on a release, its utility, and a count of its classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from microflow.anonymize.contract import Method, MethodSettings
from microflow.cli.options import FILE, OUTPUT, FiniteRange, busy, schema_option
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
@click.option("--control", type=FILE, help="File of persons who are not in the release, for the attack on membership.")
@click.option("--json", "json_file", type=OUTPUT, help="Also write all results as JSON to this file.")
@click.option("--attempts", type=click.IntRange(10), default=1_000, show_default=True, help="Targets of each attack.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random choices.")
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
    """Measure the privacy and utility of a release.

    RELEASED is attacked with knowledge from ORIGINAL, and the two are compared. Rows are matched by their record id;
    without a record id, files of equal length are compared row by row.

    \b
    Examples:
      microflow assess adult.csv out.csv --schema adult
      microflow assess visits.parquet out.parquet --schema healthcare --json risk.json
      microflow assess members.csv out.csv --schema adult --control others.csv

    Exit status: 0 done, 2 error in the input or the settings.
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
@click.option("--k", type=click.IntRange(2), show_default="5", help="Required members of the smallest class.")
@click.option("--l", "--l-diversity", "l_diversity", type=click.IntRange(1),
              help="Required different values of each sensitive column in every class.")  # fmt: skip
@click.option("--l-entropy", is_flag=True, help="Require entropy l-diversity instead.")
@click.option("--l-recursive", metavar="C", type=FiniteRange(0), help="Also require recursive (C, l)-diversity.")
@click.option("--t", "--t-closeness", "t_closeness", type=FiniteRange(0, 1),
              help="Limit of the distance between the sensitive values of a class and those of all rows.")  # fmt: skip
@click.option("--average-risk", type=FiniteRange(0, 1, min_open=True), default=1.0,
              help="Limit of the average risk (the mean of 1 / class size over all rows), such as 0.05.")  # fmt: skip
@click.option("--metrics", type=FILE, help="Require the k, l and t of this document of 'microflow run --metrics'.")
@click.option("--json", "json_file", type=OUTPUT, is_flag=False, flag_value=STANDARD, metavar="[FILE]",
              help="Print the counts as JSON, or also write them to FILE.")  # fmt: skip
@click.option("--certificate", type=FILE, help="Also check that FILE is the certified release, byte for byte.")
def verify(
    *, file: Path, schema: str, average_risk: float, metrics: Path | None, json_file: Path | None,
    certificate: Path | None, **asked: Any,
) -> None:  # fmt: skip
    """Check that a release is k-anonymous.

    The equivalence classes of FILE are counted and compared with the required k, l and t. If the schema has a column of
    role person, its distinct values are counted; otherwise each row counts as a person. l and t are counted only if
    they are required, in every sensitive column that is not a number.

    \b
    Examples:
      microflow verify out.csv --schema adult --k 5
      microflow verify out.csv --schema adult --k 5 --l 2 --l-entropy --t 0.3 --average-risk 0.1
      microflow verify out.csv --schema adult --metrics metrics.json

    Exit status: 0 all requirements are met, 1 one is not met, 2 error in the input or the settings.
    """
    from microflow.advise.release import certified
    from microflow.advise.verification import verified

    as_json = str(json_file) == STANDARD
    if json_file is not None and not as_json:
        require_free(json_file, (file, schema, certificate or STANDARD, metrics or STANDARD), replaces=b"{")
    described, required = load_schema(schema), _required(metrics, asked)
    with busy("counting classes"):
        counted = verified(file, described, required, average_risk)
    if counted.unit == "row" and described.person is not None:
        click.echo(f"column {described.person!r} is empty: rows are counted, and k of persons may be less", err=True)
    found, lines = counted.to_dict(), counted.lines()
    if json_file is not None and not as_json:
        write_whole(json_file, json.dumps(found, indent=2) + "\n")
    if certificate is not None:
        document = certified(certificate, file, described, {"rows": counted.rows, "k": counted.k})
        found["certified"] = document["guarantee"]["text"]
        lines.insert(0, f"certified: {found['certified']}")
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines))
    if not counted.is_satisfied:
        raise click.exceptions.Exit(1)


def _required(metrics: Path | None, asked: Mapping[str, Any]) -> MethodSettings:
    """Required settings: those of the metrics document, if there is one, overridden by the options."""
    from microflow.advise.verification import stated

    settings = MethodSettings(Method.K_ANONYMITY)
    if metrics is not None:
        try:
            settings = stated(json.loads(metrics.read_bytes()), metrics)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=metrics) from error
        except (ValueError, RecursionError) as error:
            raise InputError("not JSON", path=metrics) from error
    return replace(settings, **{name: value for name, value in asked.items() if value not in (None, False)})
