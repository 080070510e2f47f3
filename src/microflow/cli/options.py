"""Options, types and progress displays that several commands share."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.errors import MicroflowError
from microflow.sources.files import is_folder, is_url
from microflow.store.progress import JobProgress

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "EXISTING",
    "FILE",
    "OUTPUT",
    "PLACE",
    "FiniteRange",
    "busy",
    "complete_policy",
    "complete_schema",
    "job_argument",
    "json_option",
    "method_options",
    "method_settings",
    "overwrite_option",
    "policy_option",
    "profile_option",
    "progress_bar",
    "rows_bar",
    "schema_option",
    "together",
]

FILE = click.Path(path_type=Path, exists=False, dir_okay=True)
OUTPUT = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


class FiniteRange(click.FloatRange):
    """Type of an option: a finite number within bounds. Click's own range accepts NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class _Place(click.ParamType[Path | str]):
    """Type of an argument: a path, a folder (it ends with a slash), an address for fsspec, or ``-``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:  # noqa: ARG002 - click's signature
        return value if is_url(value) or is_folder(value) else Path(value)


class _Share(click.ParamType[float]):
    """Type of an option: a share of rows, ``1%`` or ``0.01``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:
            self.fail(f"{text!r} is no share of rows, such as 1%", param, ctx)
        return share


def _named(names: Iterable[str], begun: str) -> list[CompletionItem]:
    """Completions: the names with this beginning, and the files that the shell finds."""
    return [*(CompletionItem(name) for name in names if name.startswith(begun)), CompletionItem(begun, type="file")]


def complete_schema(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completions of a schema: the shipped descriptors, and files."""
    from microflow.descriptors import schema_names

    return _named(schema_names(), incomplete)


def complete_policy(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completions of a policy: the shipped policies, and files."""
    from microflow.compliance import policy_names

    return _named(policy_names(), incomplete)


def complete_job(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completions of a job: the newest jobs, if a database runs already. A key press starts no server."""
    from microflow.settings import Settings

    try:
        from microflow.settings import Retries
        from microflow.store.connector import PostgreSQLConnector
        from microflow.store.jobs import JobStore
        from microflow.store.server import ServerPlace, is_running

        folder = ServerPlace.of(None).folder
        if not (Settings.read().database_url or (folder.is_dir() and is_running(folder))):
            return []
        with PostgreSQLConnector(retries=Retries(pauses=())) as connector:
            return [CompletionItem(job.id) for job in JobStore(connector).newest(50) if job.id.startswith(incomplete)]
    except (MicroflowError, ModuleNotFoundError):
        return []


PLACE = _Place()
_PATIENCE_S = 2.0
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
schema_option = click.option(
    "--schema", required=True, shell_complete=complete_schema,
    help="Descriptor of the columns: the name of a shipped one, or a YAML file.",
)  # fmt: skip
policy_option = click.option(
    "--policy", shell_complete=complete_policy,
    help="Policy: the name of a shipped one, or a YAML file; by default the policy of the schema.",
)  # fmt: skip
job_argument = click.argument("job_id", metavar="JOB", shell_complete=complete_job)


def json_option(what: str) -> Decorator:
    """Option ``--json`` that prints a result as JSON instead of as text."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


def overwrite_option(what: str) -> Decorator:
    """Option ``--overwrite`` that allows a command to replace its output."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what} if it exists.")


def profile_option(default: str, purpose: str) -> Decorator:
    """Option ``--profile`` that chooses the size of experiments."""
    from microflow.lab.experiment import PROFILES  # other commands need no experiments

    return click.option("--profile", type=click.Choice(PROFILES), default=default, show_default=True, help=purpose)


def together(*options: Decorator) -> Decorator:
    """Decorator that adds several options, in the order in which the help lists them."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


# fmt: off
_PARAMETERS = (
    click.option("--k", type=click.IntRange(2), default=5, show_default=True,
                 help="k-anonymity: fewest persons in a class (fewest rows, if no column has the role person)."),
    click.option("--scope", type=click.Choice(["microflow", "dataset", "stream"]),
                 help="k-anonymity: the rows among which classes are formed; by default what suits the pipeline."),
    click.option("--l", "--l-diversity", "l_diversity", type=click.IntRange(1), default=1, show_default=True,
                 help="k-anonymity: fewest different values of each sensitive column in a class."),
    click.option("--l-entropy", is_flag=True,
                 help="k-anonymity: entropy l-diversity (the entropy of a class is at least log(l))."),
    click.option("--l-recursive", metavar="C", type=FiniteRange(0), default=0.0,
                 help="k-anonymity: recursive (C, l)-diversity (the most frequent value has fewer rows than C times "
                      "the rare ones)."),
    click.option("--t", "--t-closeness", "t_closeness", type=FiniteRange(0, 1), default=1.0, show_default=True,
                 help="k-anonymity: greatest distance between the sensitive values of a class and those of all rows."),
    click.option("--suppress", type=_Share(), default=0.0, show_default="0%",
                 help="k-anonymity: share of rows that may be suppressed, such as 1%, so that the others lose less."),
    click.option("--effort", type=click.IntRange(0), default=1, show_default=True,
                 help="k-anonymity: how long to search for classes that lose less."),
    click.option("--strict", is_flag=True, help="k-anonymity: keep equal values together (strict Mondrian)."),
    click.option("--delta", type=click.IntRange(1), default=1_000, show_default=True,
                 help="k-anonymity of a stream: longest delay of a record, in records (CASTLE)."),
    click.option("--epsilon", type=FiniteRange(0, min_open=True), default=1.0, show_default=True,
                 help="Differential privacy: budget of each record."),
    click.option("--key-bits", type=click.Choice(["128", "256", "512"]), default="256", show_default=True,
                 help="Tokenization: length of the key."),
    click.option("--reversible", is_flag=True,
                 help="Tokenization: make tokens that 'microflow detokenize' turns back."),
    click.option("--seed", type=int,
                 help="Make the same random choices each time. Differential privacy also needs --insecure-seed."),
    click.option("--insecure-seed", is_flag=True,
                 help="Allow --seed with differential privacy in a recorded run. A person who knows the seed can "
                      "compute the original values."),
)
# fmt: on


def method_options(command: Callable[..., Any], *, required: bool = True) -> Callable[..., Any]:
    """Decorator that adds the options of a method; without ``required``, the command chooses a method by itself."""
    method = click.option(
        "--method", type=click.Choice([str(m) for m in Method]), required=required, help="Method of anonymization."
    )
    return together(method, *_PARAMETERS)(command)


def method_settings(options: dict[str, Any], *, is_recorded: bool = True) -> MethodSettings:
    """Take the method's options out of a command's; what is left is the command's own.

    Raises:
        MicroflowError: seeded noise was asked for in a run that is recorded, without the word that says what it means.
    """
    scope, method = options.pop("scope"), Method(options.pop("method"))
    is_allowed = options.pop("insecure_seed")
    if method is Method.DIFFERENTIAL_PRIVACY and options["seed"] is not None and not is_allowed:
        danger = "with a seed the noise can be computed back, and every value with it"
        if is_recorded:
            raise MicroflowError(danger, hint="leave --seed out; for tests and demonstrations add --insecure-seed")
        click.echo(f"warning: {danger}: release nothing that was made with --seed", err=True)
    return MethodSettings(
        method=method,
        scope=None if scope is None else Scope(scope),
        key_bits=int(options.pop("key_bits")),
        **{name: options.pop(name) for name in ("k", "epsilon", "l_diversity", "l_entropy", "l_recursive")},
        **{name: options.pop(name) for name in ("t_closeness", "suppress", "effort", "strict", "delta")},
        **{name: options.pop(name) for name in ("reversible", "seed")},
    )


def progress_bar(total: int | None, what: str) -> tqdm[Any]:
    """Progress bar of rows on standard error, for a ``with`` block; draws nothing if that is not a terminal."""
    from tqdm import tqdm  # most commands draw no bar

    return tqdm(total=total, desc=what, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Block that shows its name and duration on a terminal once it takes longer than two seconds."""
    over = Event()

    def say() -> None:
        while not over.wait(_PATIENCE_S):
            click.echo(f"\r{what} … {time.monotonic() - began:.0f} s ", nl=False, err=True)

    began, thread = time.monotonic(), Thread(target=say, daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
            click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def rows_bar() -> Iterator[Callable[[JobProgress], None]]:
    """Block with a progress bar that follows a job; draws nothing if standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with progress_bar(None, "processing") as bar:

        def follow(progress: JobProgress) -> None:
            bar.update(progress.rows_read - bar.n)

        yield follow
