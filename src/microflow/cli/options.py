"""What several commands share: the words for a method, a progress bar that is silent in a pipe, counts as text."""

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
    "FILE",
    "OUTPUT",
    "PLACE",
    "FiniteRange",
    "busy",
    "complete_schema",
    "counts_text",
    "job_argument",
    "method_options",
    "method_settings",
    "policy_option",
    "progress_bar",
    "rows_bar",
    "schema_option",
    "together",
]

FILE = click.Path(path_type=Path, exists=False, dir_okay=True)
OUTPUT = click.Path(path_type=Path, dir_okay=False)


class FiniteRange(click.FloatRange):
    """A number between two others: NaN lies between none, although it compares with neither."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


class _Place(click.ParamType[Path | str]):
    """A path, a folder (it ends with a slash), an address for fsspec, or ``-``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:  # noqa: ARG002 - click's signature
        return value if is_url(value) or is_folder(value) else Path(value)


class _Share(click.ParamType[float]):
    """A share of rows: ``1%`` or ``0.01``."""

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
    """The names that begin so, and whatever file the shell finds."""
    return [*(CompletionItem(name) for name in names if name.startswith(begun)), CompletionItem(begun, type="file")]


def complete_schema(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The descriptors that ship with the package, and files."""
    from microflow.descriptors import schema_names

    return _named(schema_names(), incomplete)


def complete_policy(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The policies that ship with the package, and files."""
    from microflow.compliance import policy_names

    return _named(policy_names(), incomplete)


def complete_job(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest jobs, where a database is at hand already: a key press starts no server."""
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
SHARE = _Share()
_PATIENCE_S = 2.0
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
#: The option that names a data set of the user's.
schema_option = click.option(
    "--schema", required=True, shell_complete=complete_schema,
    help="What the columns mean: a shipped name, or your YAML file.",
)  # fmt: skip
policy_option = click.option(
    "--policy", shell_complete=complete_policy,
    help="Which rules: a shipped name or your YAML file; by default the schema's.",
)  # fmt: skip
job_argument = click.argument("job_id", metavar="JOB", shell_complete=complete_job)


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in the order in which the help lists them."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


# fmt: off
_PARAMETERS = (
    click.option("--k", type=click.IntRange(2), default=5, show_default=True,
                 help="k-anonymity: persons in a class (rows, where no column has the role person)."),
    click.option("--scope", type=click.Choice(["microflow", "dataset", "stream"]), help="k-anonymity: what is seen."),
    click.option("--l", "--l-diversity", "l_diversity", type=click.IntRange(1), default=1, show_default=True,
                 help="k-anonymity: different values of each sensitive column in a class."),
    click.option("--l-entropy", is_flag=True, help="Entropy l-diversity: the entropy of a class is at least log(l)."),
    click.option("--l-recursive", metavar="C", type=FiniteRange(0), default=0.0,
                 help="Recursive (C, l)-diversity: the most frequent value has fewer rows than C times the rare ones."),
    click.option("--t", "--t-closeness", "t_closeness", type=FiniteRange(0, 1), default=1.0, show_default=True,
                 help="k-anonymity: how far a class's sensitive values may be from everybody's."),
    click.option("--suppress", type=SHARE, default=0.0, show_default="0%",
                 help="k-anonymity: rows that may be suppressed, such as 1%, where the others gain by more."),
    click.option("--effort", type=click.IntRange(0), default=1, show_default=True,
                 help="k-anonymity: search longer for classes that lose less."),
    click.option("--strict", is_flag=True, help="k-anonymity: equal values stay together (strict Mondrian)."),
    click.option("--delta", type=click.IntRange(1), default=1_000, show_default=True, help="CASTLE's delay bound."),
    click.option(
        "--epsilon", type=FiniteRange(0, min_open=True), default=1.0, show_default=True, help="Budget per record."
    ),
    click.option("--key-bits", type=click.Choice(["128", "256", "512"]), default="256", show_default=True),
    click.option("--reversible", is_flag=True, help="Tokens that 'microflow detokenize' turns back."),
    click.option("--seed", type=int, help="The same choices each time. With noise it needs --insecure-seed."),
    click.option(
        "--insecure-seed",
        is_flag=True,
        help="Allow --seed with differential privacy in a recorded run: who knows it computes every value back.",
    ),
)
# fmt: on


def method_options(command: Callable[..., Any], *, required: bool = True) -> Callable[..., Any]:
    """The options that choose a method; where it is not ``required``, leaving it out leaves the choice to advice."""
    method = click.option(
        "--method", type=click.Choice([str(m) for m in Method]), required=required, help="How to anonymize."
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
    """Counts rows on standard error; draws nothing where that is not a terminal. Use as a context manager."""
    from tqdm import tqdm  # most commands draw no bar

    return tqdm(total=total, desc=what, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """On a terminal: what takes longer than two seconds says so, and for how long; nothing where output is piped."""
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
    """A bar on a terminal's standard error that follows a job's progress; nothing where output is piped."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with progress_bar(None, "processing") as bar:

        def follow(progress: JobProgress) -> None:
            bar.update(progress.rows_read - bar.n)

        yield follow


def counts_text(metrics: dict[str, Any], output: Path) -> str:
    """One paragraph on what became of every row."""
    counted = metrics["processing_metrics"]
    read = counted["total_records"] + counted["quarantined"]
    return (
        f"{read:,} rows read = {counted['released']:,} released + {counted['suppressed']:,} suppressed"
        f" + {counted['quarantined']:,} quarantined\n"
        f"{counted['violations_found']:,} violations found and remedied before anything was released\n"
        f"written to {output}"
    )
