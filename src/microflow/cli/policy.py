"""``microflow policy``: which policies there are, what one says, and whether a file of one's own is right."""

from __future__ import annotations

import textwrap

import click

from microflow.compliance import Policy, Rule, load_policy, policy_names
from microflow.compliance.targets import Targets
from microflow.compliance.vocabulary import explain
from microflow.descriptors import load_schema

__all__ = ["policy"]

_WIDTH = 100


@click.group()
def policy() -> None:
    """Explain the rules that data are checked against, and check rules of your own."""


@policy.command("list")
def list_policies() -> None:
    """List the policies that ship with Microflow."""
    for name in policy_names():
        loaded = load_policy(name)
        click.echo(f"{name:10} {len(loaded.rules):3} rules as of {loaded.reference_date}  {loaded.title}")


@policy.command()
@click.argument("name")
def show(name: str) -> None:
    """Show every rule of a policy: a shipped NAME, or a YAML file.

    \b
    Examples:
      microflow policy show hipaa
      microflow policy show house-rules.yaml
    """
    loaded = load_policy(name)
    click.echo(f"{loaded.title}\n{len(loaded.rules)} rules as of {loaded.reference_date}\n")
    for rule in loaded.rules:
        click.echo(_explained(rule))


@policy.command()
@click.argument("file", type=click.Path())
@click.option(
    "--schema", "schema_name", help="Also say which columns of this data set (a name or a YAML file) it covers."
)
def check(file: str, schema_name: str | None) -> None:
    """Check that FILE is a policy; an error names file, rule and the words allowed.

    \b
    Examples:
      microflow policy check house-rules.yaml
      microflow policy check house-rules.yaml --schema healthcare
    """
    loaded = load_policy(file)
    click.echo(f"{file}: {len(loaded.rules)} rules as of {loaded.reference_date}, no errors")
    if schema_name is not None:
        click.echo(_coverage(loaded, schema_name))


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
    """Which field answers to which rules, and which rules to none; a rule that cannot be asked is an error."""
    schema = load_schema(schema_name)
    targets = Targets(loaded, schema).all
    rules_of = {name: [target.rule.id for target in targets if target.field == name] for name in schema.names}
    lines = [f"  {name}: {', '.join(rules)}" for name, rules in rules_of.items() if rules]
    idle = [rule.id for rule in loaded.rules if not rule.columns(schema)]
    return "\n".join([f"{schema.name}:", *lines, f"  without a column: {', '.join(idle) or 'none'}"])
