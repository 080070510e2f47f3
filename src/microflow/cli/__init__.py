"""The command line, one module a command; a command is imported only when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from microflow import __version__
from microflow.errors import MicroflowError

__all__ = ["main"]

#: Command name to the module of `microflow.cli` that holds a click command of that name (dashes become underscores).
COMMANDS = {
    "run": "run",
    "resume": "jobs",
    "jobs": "jobs",
    "job": "jobs",
    "cancel": "jobs",
    "report": "report",
    "generate": "generate",
    "verify": "verify",
    "assess": "assess",
    "detokenize": "detokenize",
    "policy": "policy",
    "bench": "bench",
    "experiments": "experiments",
    "figures": "figures",
    "db": "db",
    "storm": "storm",
    "kafka": "kafka",
    "doctor": "doctor",
    "completion": "completion",
}


class LazyGroup(click.Group):
    """Lists every command and imports one only when it is asked for: ``--help`` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(import_module(f"microflow.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="microflow")
def cli() -> None:
    """Check, anonymize and measure: what does privacy compliance cost your pipeline?"""


def main() -> None:
    """Run the command line; a user's mistake ends in one line, a hint and exit status 2, never in a traceback."""
    try:
        status = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Abort:
        raise SystemExit(130) from None
    except MicroflowError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        raise SystemExit(error.exit_status) from None
    # Without standalone mode click returns the status that a command left with.
    raise SystemExit(status if isinstance(status, int) else 0)
