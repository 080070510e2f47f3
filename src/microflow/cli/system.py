"""``microflow doctor``, ``db`` and ``completion``: the set-up of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click
from click.shell_completion import get_completion_class

from microflow.anonymize.tokenization import KEY_FILE_VARIABLE, KEY_VARIABLE
from microflow.errors import MicroflowError
from microflow.jvm import find_java
from microflow.lab.launch import Machine
from microflow.settings import Settings

__all__ = ["Finding", "completion", "db", "doctor", "examine"]


_GIB = 2**30
#: Spark's driver and its workers' Python processes want this much beside everything else.
_SPARK_BYTES = 4 * _GIB


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check of the set-up, with a remedy if the thing is missing."""

    name: str
    is_there: bool
    found: str
    remedy: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(*, as_json: bool) -> None:
    """Report what can run on this machine.

    Python, cores, memory, Java, PostgreSQL and the token key are checked. The embedded PostgreSQL is started for this.

    \b
    Example:
      microflow doctor

    Exit status: 0 all parts can run, 1 Java or PostgreSQL is missing.
    """
    findings = list(examine())
    there = {finding.name for finding in findings if finding.is_there}
    if as_json:
        document = {"findings": [asdict(finding) for finding in findings], "what_runs": list(_what_runs(there))}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(_text(findings, there))
    if not {"Java", "PostgreSQL"} <= there:
        raise click.exceptions.Exit(1)


def _text(findings: list[Finding], there: set[str]) -> str:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.is_there else '--'}  {finding.name:<{width}}  {finding.found}")
        if not finding.is_there:
            lines.append(f"    {'':<{width}}  {finding.remedy}")
    return "\n".join([*lines, "", *_what_runs(there)])


def examine() -> Iterator[Finding]:
    """Checks of everything that decides what can run; starts the embedded PostgreSQL if it does not run yet."""
    machine = Machine.here()
    yield Finding("Python", is_there=True, found=f"{machine.python} on {machine.kernel}")
    yield Finding("Cores", is_there=True, found=f"{machine.cores} × {machine.cpu_model}")
    yield Finding(
        "Memory",
        machine.memory_bytes >= _SPARK_BYTES,
        f"{machine.memory_bytes / _GIB:.1f} GiB",
        f"Spark wants {_SPARK_BYTES / _GIB:.0f} GiB; --engine local needs far less",
    )
    yield _tried("Java", lambda: str(find_java()))
    yield _tried("PostgreSQL", _postgresql)
    yield _token_key()


def _tried(name: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(name, is_there=True, found=attempt())
    except MicroflowError as error:
        return Finding(name, is_there=False, found=error.message, remedy=error.hint)


def _postgresql() -> str:
    # The address may hold a password: only where it comes from is shown.
    from microflow.settings import Retries
    from microflow.store.connector import PostgreSQLConnector

    place = "the server of DATABASE_URL" if Settings.read().database_url else "the embedded server"
    with PostgreSQLConnector(retries=Retries(pauses=())) as connector:
        ((version,),) = connector.query("SHOW server_version")
    return f"{version}, {place}"


def _token_key() -> Finding:
    named = next((name for name in (KEY_VARIABLE, KEY_FILE_VARIABLE) if os.environ.get(name)), None)
    remedy = f"only tokenization needs one: openssl rand -hex 32 > key; chmod 600 key; export {KEY_FILE_VARIABLE}=key"
    return Finding("Token key", named is not None, named or "none in the environment", remedy)


def _what_runs(there: set[str]) -> Iterator[str]:
    yield "runs here: --engine local with batch, stream and hybrid" + (", --engine spark" if "Java" in there else "")
    if "Java" not in there:
        yield "needs Java: --engine spark, microflow storm, microflow kafka"
    if "PostgreSQL" not in there:
        yield "needs PostgreSQL: experiments, jobs that can be resumed; run with --no-database until then"
    if "Token key" not in there:
        yield "needs a token key: --method tokenization"


@click.group()
def db() -> None:
    """Start, stop and migrate the results database.

    DATABASE_URL names your own server. Without it, an embedded PostgreSQL is started when it is needed.
    """


@db.command()
def start() -> None:
    """Start the embedded PostgreSQL and print its address.

    \b
    Example:
      microflow db start
    """
    from microflow.store.database import migrate
    from microflow.store.server import ensure_server

    address = ensure_server()
    migrate(address)
    click.echo(address)


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data stay.

    \b
    Example:
      microflow db stop
    """
    from microflow.store.server import stop_server

    click.echo("stopped" if stop_server() else "it was not running")


@db.command()
def url() -> None:
    """Print the address of the results database, without its password.

    \b
    Example:
      microflow db url
    """
    from microflow.store.database import without_password
    from microflow.store.server import server_url

    click.echo(without_password(Settings.read().database_url or server_url()))


@db.command("migrate")
def migrate_database() -> None:
    """Update the tables of the results database to this version.

    Every command does this by itself if its user may change the tables.

    \b
    Example:
      microflow db migrate
    """
    from microflow.store.database import migrate, without_password
    from microflow.store.server import ensure_server

    target = Settings.read().database_url or ensure_server()
    migrate(target)
    click.echo(f"{without_password(target)} is at the newest schema")


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      source <(microflow completion bash)
      microflow completion zsh > ~/.zfunc/_microflow
      microflow completion fish > ~/.config/fish/completions/microflow.fish
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "microflow", "_MICROFLOW_COMPLETE").source())
