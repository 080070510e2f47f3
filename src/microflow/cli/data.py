"""``microflow describe``, ``generate`` and ``detokenize``: commands on files outside a job."""

from __future__ import annotations

import json
from pathlib import Path

import click

from microflow.advise.describe import Description, describe_together, drift_of
from microflow.advise.descriptor_text import as_data, as_yaml
from microflow.anonymize.tokenization import Detokenizer, read_key
from microflow.cli.options import (
    FILE,
    OUTPUT,
    PLACE,
    FiniteRange,
    busy,
    complete_schema,
    json_option,
    overwrite_option,
    progress_bar,
    schema_option,
)
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.schema import DatasetSchema, Role
from microflow.sinks.whole_file import write_whole
from microflow.sinks.writers import open_writer
from microflow.sources import Quarantine, read_microflows

__all__ = ["describe", "detokenize", "generate"]


@click.command()
@click.argument("files", metavar="FILE...", type=PLACE, nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="File for the descriptor; for several files, a folder for a NAME.yaml of each.")  # fmt: skip
@overwrite_option("a descriptor")
@click.option("--show-examples", is_flag=True, help="Also show values of the file; they may be personal data.")
@json_option("the description")
@click.option("--check", is_flag=True, help="Compare FILE with the descriptor of --schema instead.")
@click.option(
    "--schema", shell_complete=complete_schema, help="With --check: the name of a shipped descriptor, or a YAML file."
)
@click.option("--sheet", default="", help="Sheet to read, if several sheets of a spreadsheet contain rows.")
def describe(
    *,
    files: tuple[Path | str, ...],
    output: Path | None,
    overwrite: bool,
    show_examples: bool,
    as_json: bool,
    check: bool,
    schema: str | None,
    sheet: str,
) -> None:
    """Describe the columns of a file, or compare it with a descriptor.

    The descriptor (schema) states type, format, role and kind of each column, with the reason. Where the role is not
    certain, it says 'role: undecided', and 'microflow run' refuses to start until you have replaced this word. Bounds
    and categories that were taken from the data are marked. Files that are given together are searched for keys that
    join them.

    \b
    Examples:
      microflow describe visits.csv -o visits.yaml
      microflow describe tables/*.csv -o schemas/
      microflow describe 'postgresql://host/clinic?table=visits' -o visits.yaml
      microflow describe --check visits-may.csv --schema visits.yaml

    Exit status: 0 done, 1 with --check: a file does not fit the descriptor, 2 error in the input or the settings.
    """
    if check != (schema is not None):
        raise click.UsageError("--check and --schema go together")
    if schema is not None:
        _check(files, schema, as_json=as_json)
        return
    with busy("describing"):
        descriptions = describe_together(files, sheet)
    if output is not None:
        for description, path in zip(descriptions, _targets(descriptions, output), strict=True):
            require_free(path, files, overwrite=overwrite)
            write_whole(path, as_yaml(description, examples=show_examples))
            click.echo(_summary(description, path), err=as_json)
    if as_json:
        data = [as_data(description, examples=show_examples) for description in descriptions]
        click.echo(json.dumps(data[0] if len(data) == 1 else data, indent=2, ensure_ascii=False))
    elif output is None:
        click.echo("---\n".join(as_yaml(description, examples=show_examples) for description in descriptions), nl=False)


def _targets(descriptions: list[Description], output: Path) -> list[Path]:
    if len(descriptions) == 1 and not output.is_dir():
        return [output]
    paths = [output / f"{description.schema.name}.yaml" for description in descriptions]
    if len(set(paths)) < len(paths):
        raise InputError("two files would have one schema", path=output, hint="describe them apart")
    output.mkdir(parents=True, exist_ok=True)
    return paths


def _summary(description: Description, path: Path) -> str:
    """Summary of a description: counts of columns and rows, and the columns that are undecided."""
    schema = description.schema
    text = f"{path}: {len(schema.columns)} columns of {description.profile.rows:,} rows"
    text += f"; {len(schema.identifiers)} identifiers, {len(schema.quasi_identifiers)} quasi-identifiers"
    if description.profile.refused:
        text += f"; {description.profile.refused:,} rows cannot be read"
    if left_out := description.profile.left_out:
        text += f"; lists are dropped: {', '.join(map(repr, left_out))}"
    if schema.person:
        text += f"; rows of one person share {schema.person!r}"
    if description.undecided:
        text += f"\nundecided: {', '.join(map(repr, description.undecided))}; edit their 'role' before 'microflow run'"
    return text


def _check(files: tuple[Path | str, ...], schema: str, *, as_json: bool) -> None:
    described = load_schema(schema)
    with busy("comparing"):
        drifts = {str(path): drift_of(path, described) for path in files}
    if as_json:
        found = {
            path: {
                "new": list(drift.new),
                "missing": list(drift.missing),
                "retyped": {n: c for n, (c, _) in drift.retyped.items()},
                "unreadable": drift.refused,
            }
            for path, drift in drifts.items()
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for path, drift in drifts.items():
            click.echo("\n".join(f"{path}: {line}" for line in drift.lines()) or f"{path}: fits, {drift.rows:,} rows")
    if any(drifts.values()):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("data_type", metavar="TYPE")
@click.argument("output", type=OUTPUT)
@click.option("--rows", type=click.IntRange(0), default=10_000, show_default=True, help="Number of records.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed; the same seed gives the same bytes."
)
@click.option(
    "--truth", type=OUTPUT, help="Also write all injected violations to this file: row, rule, field, start, end."
)
@click.option("--violation-rate", type=FiniteRange(0, 1), default=0.085, show_default=True,
              help="Share of records with a violation.")  # fmt: skip
@overwrite_option("OUTPUT or the truth")
@click.option("--hard-cases/--no-hard-cases", default=True, help="Add values that only look like a violation.")
def generate(
    *, data_type: str, output: Path, rows: int, seed: int, truth: Path | None, violation_rate: float,
    hard_cases: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Write synthetic records with known violations.

    TYPE is healthcare, financial, ecommerce or iot. The suffix of OUTPUT decides the format: .csv, .parquet or .jsonl;
    text also with .gz or .zst.

    \b
    Examples:
      microflow generate healthcare patients.csv --rows 100000 --seed 7
      microflow generate financial bank.parquet --rows 1000000 --truth bank.truth.parquet
      microflow generate iot clean.jsonl --rows 5000 --violation-rate 0

    Exit status: 0 done, 2 error in the settings.
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


#: Roles of columns that contain no tokens.
_PLAIN = {*Role} - {Role.IDENTIFIER, Role.PERSON}


@click.command()
@click.argument("file", type=FILE)
@click.argument("output", type=OUTPUT)
@schema_option
@click.option("--key-bits", type=click.Choice(["256", "512"]), default="256", show_default=True,
              help="Length of the key with which the tokens were made.")  # fmt: skip
@overwrite_option("OUTPUT")
def detokenize(*, file: Path, output: Path, schema: str, key_bits: str, overwrite: bool) -> None:
    """Turn reversible tokens back.

    OUTPUT then contains personal data again. Only tokens that were made with --reversible can be turned back, and only
    with their key. Name a file with the key in MICROFLOW_TOKEN_KEY_FILE: then the key does not appear in the process
    list or in the history of the shell.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow detokenize out.csv back.csv --schema healthcare

    Exit status: 0 done, 2 error in the input, the key or the settings.
    """
    require_free(output, (file, schema), overwrite=overwrite)
    bits = int(key_bits)
    described = load_schema(schema)
    detokenizer = Detokenizer(described, read_key(bits), bits)
    with busy("turning tokens back"):
        rows, tokens = _restore(file, output, described, detokenizer)
    click.echo(f"{rows:,} rows with {tokens:,} tokens turned back, written to {output}")


def _restore(file: Path, output: Path, schema: DatasetSchema, detokenizer: Detokenizer) -> tuple[int, int]:
    """Write all rows or none; returns the number of rows and of tokens."""
    rows = tokens = 0
    identifiers = [column.name for column in schema.identifiers]
    quarantine = Quarantine()
    with open_writer(output, schema.arrow) as writer:
        for flow in read_microflows(file, schema.released(*_PLAIN), quarantine=quarantine):
            writer.write(detokenizer.restore(flow.rows))
            rows += len(flow)
            tokens += sum(len(flow) - flow.rows.column(name).null_count for name in identifiers)
        if quarantine.total:
            raise InputError(f"{quarantine.total} rows cannot be read; nothing was written", path=file)
    return rows, tokens
