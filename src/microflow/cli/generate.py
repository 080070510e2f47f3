"""``microflow generate``: synthetic records with ground truth."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.cli.options import FiniteRange
from microflow.cli.progress import progress_bar
from microflow.pipeline.paths import require_free

__all__ = ["generate"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("data_type", metavar="TYPE")
@click.argument("output", type=_FILE)
@click.option("--rows", type=click.IntRange(0), default=10_000, show_default=True, help="How many records.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same bytes.")
@click.option("--truth", type=_FILE, help="Also write every injected violation here: row, rule, field, start, end.")
@click.option(
    "--violation-rate",
    type=FiniteRange(0, 1),
    default=0.085,
    show_default=True,
    help="Share of records with a violation.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and the truth if they are there.")
@click.option("--hard-cases/--no-hard-cases", default=True, help="Put in look-alikes that are no violation.")
def generate(
    *, data_type: str, output: Path, rows: int, seed: int, truth: Path | None, violation_rate: float,
    hard_cases: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Write synthetic records of TYPE (healthcare, financial, ecommerce or iot) to OUTPUT.

    The suffix decides the format: .csv, .parquet, .jsonl; text also with .gz.

    \b
    Examples:
      microflow generate healthcare patients.csv --rows 100000 --seed 7
      microflow generate financial bank.parquet --rows 1000000 --truth bank.truth.parquet
      microflow generate iot clean.jsonl --rows 5000 --violation-rate 0
    """
    from microflow.datasets import write_dataset

    for path in filter(None, (output, truth)):
        require_free(path, overwrite=overwrite)
    with progress_bar(rows, "generating") as bar:
        write_dataset(
            data_type,
            output,
            rows,
            seed,
            truth=truth,
            violation_rate=violation_rate,
            hard_cases=hard_cases,
            progress=bar.update,
        )
