"""``microflow detokenize``: reversible tokens back to values, for whoever holds the key."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.anonymize.keys import read_key
from microflow.anonymize.tokenization import Detokenizer
from microflow.cli.options import FILE, OUTPUT, schema_option
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.schema import DatasetSchema, Role
from microflow.sinks.writers import open_writer
from microflow.sources import Quarantine, read_microflows

__all__ = ["detokenize"]

#: Columns in which no tokens stand.
_PLAIN = {*Role} - {Role.IDENTIFIER, Role.PERSON}


@click.command()
@click.argument("file", type=FILE)
@click.argument("output", type=OUTPUT)
@schema_option
@click.option("--key-bits", type=click.Choice(["256", "512"]), default="256", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it is there.")
def detokenize(*, file: Path, output: Path, schema: str, key_bits: str, overwrite: bool) -> None:
    """Turn the reversible tokens of FILE back and write OUTPUT, which then holds personal data again.

    Only tokens made with --reversible can be turned back, and only with their key. A key in
    MICROFLOW_TOKEN_KEY_FILE stays out of the process list and the shell's history.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow detokenize out.csv back.csv --schema healthcare
    """
    require_free(output, (file, schema), overwrite=overwrite)
    bits = int(key_bits)
    described = load_schema(schema)
    detokenizer = Detokenizer(described, read_key(bits), bits)
    rows, tokens = _restore(file, output, described, detokenizer)
    click.echo(f"{rows:,} rows with {tokens:,} tokens turned back, written to {output}")


def _restore(file: Path, output: Path, schema: DatasetSchema, detokenizer: Detokenizer) -> tuple[int, int]:
    """Write all rows or none; returns how many they were, and how many tokens."""
    rows = tokens = 0
    identifiers = [column.name for column in schema.identifiers]
    with Quarantine() as quarantine, open_writer(output, schema.arrow) as writer:
        for flow in read_microflows(file, schema.released(*_PLAIN), quarantine=quarantine):
            writer.write(detokenizer.restore(flow.rows))
            rows += len(flow)
            tokens += sum(len(flow) - flow.rows.column(name).null_count for name in identifiers)
        if quarantine.total:
            raise InputError(f"{quarantine.total} rows cannot be read; nothing was written", path=file)
    return rows, tokens
