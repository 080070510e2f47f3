"""What ``kafka run`` and ``storm run`` share: generated records, and the expected result: the in-process rows."""

from __future__ import annotations

import click

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import read_key
from microflow.cli.options import together
from microflow.compliance import load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.schema import Record

__all__ = ["generated", "generator_options", "require_equal", "rows_text", "tokenizing"]

#: The options that choose the records, besides their number.
generator_options = together(
    click.option("--schema", type=click.Choice(DATA_TYPES), default="healthcare", show_default=True),
    click.option("--seed", type=int, default=1, show_default=True),
)


def tokenizing(schema: str) -> ProcessingSpec:
    """A data type under its own policy, tokenized with the key of the environment.

    Raises:
        KeyMaterialError: there is no key; records that go to other processes need one that these can read.
    """
    described, settings = load_schema(schema), MethodSettings(Method.TOKENIZATION)
    return ProcessingSpec(described, load_policy(described.policy), settings, key=read_key(settings.key_bits))


def generated(schema: str, rows: int, seed: int) -> list[Record]:
    """The records, in order."""
    return [record for block in generate(schema, rows, seed) for record in block.rows.to_pylist()]


def rows_text(rows_in: int, rows_out: int, *, equal: bool) -> str:
    """Two lines on what became of the rows."""
    answer = "yes" if equal else "NO"
    return f"rows in       {rows_in:,}\nrows out      {rows_out:,}, equal to the in-process run: {answer}"


def require_equal(rows_in: int, rows_out: int, *, equal: bool) -> None:
    """End with exit status 1 unless rows out = rows in and all are equal."""
    if not equal or rows_in != rows_out:
        raise click.exceptions.Exit(1)
