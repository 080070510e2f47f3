"""``microflow policy``: commands that list, explain and check policies."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import click
import msgspec

from microflow.cli.options import complete_policy, complete_schema, json_option
from microflow.compliance import Policy, Rule, load_policy, policy_names
from microflow.compliance.conditions import explain
from microflow.compliance.findings import Targets
from microflow.compliance.policy import PolicyModel
from microflow.descriptors import load_schema

__all__ = ["policy"]

_WIDTH = 100


@click.group()
def policy() -> None:
    """Explain and check policies."""


@policy.command("list")
@json_option("the list")
def list_policies(*, as_json: bool) -> None:
    """List the policies that are part of Microflow.

    \b
    Example:
      microflow policy list
    """
    found = {name: load_policy(name) for name in policy_names()}
    if as_json:
        click.echo(json.dumps([_facts(name, loaded) for name, loaded in found.items()], indent=2, ensure_ascii=False))
        return
    for name, loaded in found.items():
        click.echo(f"{name:10} {len(loaded.rules):3} rules as of {loaded.reference_date}  {loaded.title}")


@policy.command()
@click.argument("name", shell_complete=complete_policy)
@json_option("the rules")
def show(name: str, *, as_json: bool) -> None:
    """Explain every rule of a policy.

    NAME is the name of a shipped policy, or a YAML file.

    \b
    Examples:
      microflow policy show hipaa
      microflow policy show company-rules.yaml
    """
    loaded = load_policy(name)
    if as_json:
        rules = [_rule_facts(rule) for rule in loaded.rules]
        click.echo(json.dumps({**_facts(name, loaded), "rules": rules}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{loaded.title}\n{len(loaded.rules)} rules as of {loaded.reference_date}\n")
    for rule in loaded.rules:
        click.echo(_explained(rule))


@policy.command()
@click.argument("file", type=click.Path())
@click.option(
    "--schema",
    "schema_name",
    shell_complete=complete_schema,
    help="Also list the rules that apply to each column of this descriptor.",
)
@json_option("the result")
def check(file: str, schema_name: str | None, *, as_json: bool) -> None:
    """Check a policy of your own.

    An error names the file, the line, the rule and the allowed words.

    \b
    Examples:
      microflow policy check company-rules.yaml
      microflow policy check company-rules.yaml --schema healthcare

    Exit status: 0 FILE is a policy, 2 it is not.
    """
    loaded = load_policy(file)
    if as_json:
        covered = {} if schema_name is None else _covered(loaded, schema_name)
        click.echo(json.dumps({**_facts(file, loaded), **covered}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{file}: {len(loaded.rules)} rules as of {loaded.reference_date}, no errors")
    if schema_name is not None:
        click.echo(_coverage(loaded, schema_name))


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policies.

    With it, an editor completes and checks a policy. The first line of the policy names the schema for the editor:
    # yaml-language-server: $schema=policy.schema.json

    \b
    Example:
      microflow policy schema > policy.schema.json
    """
    click.echo(json.dumps(msgspec.json.schema(PolicyModel), indent=2, ensure_ascii=False))


def _explained(rule: Rule) -> str:
    head = f"{rule.id}  [{rule.severity}]  {rule.title}"
    body = f"{rule.article or rule.regulation}: {_selected(rule)} {explain(rule.condition)}"
    for guard in rule.guards:
        body += f", {'when' if guard.holds else 'unless'} {guard.kind} {explain(guard.condition)}"
    lines = textwrap.wrap(f"{body}; remedy: {rule.remedy}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
    return "\n".join([head, *lines])


def _selected(rule: Rule) -> str:
    names = {"kinds": rule.kinds, "roles": rule.roles, "columns": rule.names}
    return " or ".join(f"{what} {', '.join(sorted(chosen))}" for what, chosen in names.items() if chosen)


def _coverage(loaded: Policy, schema_name: str) -> str:
    """Text of the rules that apply to each column, and of the rules that apply to no column."""
    found = _covered(loaded, schema_name)
    lines = [f"  {name}: {', '.join(rules)}" for name, rules in found["columns"].items() if rules]
    idle = ", ".join(found["without_a_column"]) or "none"
    return "\n".join([f"{found['schema']}:", *lines, f"  without a column: {idle}"])


def _covered(loaded: Policy, schema_name: str) -> dict[str, Any]:
    schema = load_schema(schema_name)
    targets = Targets(loaded, schema).all
    return {
        "schema": schema.name,
        "columns": {name: [target.rule.id for target in targets if target.field == name] for name in schema.names},
        "without_a_column": [rule.id for rule in loaded.rules if not rule.columns(schema)],
    }


def _facts(name: str, loaded: Policy) -> dict[str, Any]:
    date = str(loaded.reference_date)
    return {"policy": name, "title": loaded.title, "reference_date": date, "number_of_rules": len(loaded.rules)}


def _rule_facts(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": rule.title,
        "regulation": rule.regulation,
        "article": rule.article,
        "severity": str(rule.severity),
        "applies_to": {"kinds": sorted(rule.kinds), "roles": sorted(rule.roles), "columns": sorted(rule.names)},
        "condition": explain(rule.condition),
        "remedy": str(rule.remedy),
    }
