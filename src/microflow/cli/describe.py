"""``microflow describe``: write what the columns of a file mean, or say where a file no longer fits."""

from __future__ import annotations

import json
from pathlib import Path

import click

from microflow.advise.describe import Description, describe_together, drift_of
from microflow.advise.descriptor_text import as_data, as_yaml
from microflow.cli.options import PLACE
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.pipeline.paths import require_free
from microflow.sinks.whole_file import write_whole

__all__ = ["describe"]


@click.command()
@click.argument("files", metavar="FILE...", type=PLACE, nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="The schema to write; of several files, the folder for NAME.yaml of each.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace schemas that are there.")
@click.option("--show-examples", is_flag=True, help="Show values of the file; they may be personal data.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--check", is_flag=True, help="Compare FILE with --schema instead.")
@click.option("--schema", help="With --check: a shipped name, or your YAML file.")
def describe(
    *,
    files: tuple[Path | str, ...],
    output: Path | None,
    overwrite: bool,
    show_examples: bool,
    as_json: bool,
    check: bool,
    schema: str | None,
) -> None:
    """Look at FILE and write its schema: types, formats, roles and kinds, with the reason for each.

    What cannot be known is 'role: undecided', and 'microflow run' waits until you have decided. Bounds and categories
    are taken from the data and marked so. Files given together are searched for keys that join them.

    \b
    Examples:
      microflow describe visits.csv -o visits.yaml
      microflow describe tables/*.csv -o schemas/
      microflow describe 'postgresql://host/clinic?table=visits' -o visits.yaml
      microflow describe --check visits-may.csv --schema visits.yaml

    Exit status: 0 done, 1 with --check: the file no longer fits, 2 a file cannot be read.
    """
    if check != (schema is not None):
        raise click.UsageError("--check and --schema go together")
    if schema is not None:
        _check(files, schema, as_json=as_json)
        return
    descriptions = describe_together(files)
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
    """One paragraph: what was found, and what is left to decide."""
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
    drifts = {str(path): drift_of(path, described) for path in files}
    if as_json:
        found = {
            path: {
                "new": list(one.new),
                "missing": list(one.missing),
                "retyped": {n: c for n, (c, _) in one.retyped.items()},
                "unreadable": one.refused,
            }
            for path, one in drifts.items()
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for path, one in drifts.items():
            click.echo("\n".join(f"{path}: {line}" for line in one.lines()) or f"{path}: fits, {one.rows:,} rows")
    if any(drifts.values()):
        raise click.exceptions.Exit(1)
