"""``microflow stream``: records from a topic or from standard input, processed as they arrive."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import click

from microflow.anonymize.contract import Method
from microflow.anonymize.tokenization import read_key
from microflow.cli.options import FILE, FiniteRange, method_options, method_settings, policy_option, schema_option
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec, scoped
from microflow.engine.service import MessageService
from microflow.engine.urgency import load_urgency
from microflow.errors import InputError
from microflow.pipeline.stream_ends import StreamSpec, open_ends
from microflow.pipeline.stream_job import Progress, Stream

__all__ = ["LiveView", "stream"]


#: Seconds between two updates of the live view.
_EVERY_S = 0.5


@click.command()
@click.argument("source")
@click.argument("sink")
@schema_option
@policy_option
@click.option("--pipeline", type=click.Choice(["stream", "hybrid"]), default="hybrid", show_default=True,
              help="Whether records are processed one by one, or as a router decides.")  # fmt: skip
@click.option("--urgency", type=FILE,
              help="hybrid: YAML list of the records to process first; by default that of the schema.")  # fmt: skip
@method_options
@click.option("--group", help="Consumer group, whose processes share the partitions; by default from schema and topic.")
@click.option("--dead-letters", metavar="PLACE",
              help="Place for messages that cannot be read: kafka://HOST:PORT/TOPIC, or a file.")  # fmt: skip
@click.option("--client-config", type=FILE, help="File with properties for Kafka, such as SASL and TLS.")
@click.option("--until-idle", type=FiniteRange(0, min_open=True), metavar="SECONDS",
              help="End when no message has arrived for so many seconds.")  # fmt: skip
@click.option("--ordered", is_flag=True, help="hybrid: keep the order of records with the same message key.")
@click.option("--max-delay", type=FiniteRange(0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
              help="k-anonymity: longest delay of a record; --delta is the limit in records.")  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(1, 65_535), help="Serve metrics for Prometheus at this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address at which metrics are served.")
def stream(*, source: str, sink: str, schema: str, policy: str | None, pipeline: str, **options: Any) -> None:
    """Check and anonymize records as they arrive.

    SOURCE is kafka://HOST:PORT/TOPIC, or - for JSON Lines on standard input. SINK is a topic of the same cluster, a
    postgresql:// address (or 'postgresql' for DATABASE_URL or the embedded server), a file of JSON Lines, or - for
    standard output. Topics must exist.

    The command runs until you stop it. SIGTERM and Ctrl-C commit the records in progress and end it. After a restart,
    it continues behind the last commit. k-anonymity holds each record back until it can be released in a group of k.

    \b
    Examples:
      microflow stream kafka://host:9092/visits kafka://host:9092/safe --schema visits.yaml --method tokenization
      microflow stream kafka://host:9092/visits postgresql --schema visits.yaml --method differential_privacy
      tail -f visits.jsonl | microflow stream - safe.jsonl --schema visits.yaml --method tokenization

    Exit status: 0 the input ended, or you stopped the command; 2 error in the input, the set-up or the settings.
    """
    names = ("group", "dead_letters", "client_config", "until_idle", "urgency", "metrics_port", "metrics_host")
    ordered, delay = options.pop("ordered"), options.pop("max_delay")
    group, dead, config, until_idle, urgency, port, host = (options.pop(name) for name in names)
    spec = _spec(schema, policy, options)
    rules = None if urgency is None else load_urgency(urgency)
    service = MessageService(spec, hybrid=pipeline == "hybrid", urgency=rules, ordered=ordered, seconds=delay)
    with ExitStack() as stack:
        wanted = StreamSpec(source, sink, pipeline, group, dead, _properties(config))
        ends = open_ends(stack, wanted, spec)
        live = Stream(ends.source, ends.sink, service, dead=ends.dead, observe=_observer(stack, service, port, host))
        with _stopping() as came:
            live.run(stopping=lambda: bool(came), until_idle_s=until_idle)
        service.counts["given again"] = live.progress.given_again
        if ends.finish is not None:
            ends.finish({"messages": dict(service.counts), "routes": dict(service.reasons)})
    _print_counts(service)
    if service.held:
        click.echo(f"held back: {service.held:,}, not committed; the next start reads them again", err=True)


def _observer(stack: ExitStack, service: MessageService, port: int | None, host: str) -> Callable[[Progress], object]:
    view = LiveView(sys.stderr, service)
    stack.callback(view.close)
    if port is None:
        return view.observe
    from microflow.pipeline.stream_metrics import StreamMetrics  # needs the extra kafka

    metrics = StreamMetrics(service)
    stack.enter_context(metrics.serve(port, host))

    def observe(progress: Progress) -> None:
        metrics.observe(progress)
        view.observe(progress)

    return observe


def _spec(schema: str, policy: str | None, options: dict[str, Any]) -> ProcessingSpec:
    described, method = load_schema(schema), method_settings(options)
    key = read_key(method.key_bits) if method.method is Method.TOKENIZATION else None
    return scoped(ProcessingSpec(described, load_policy(policy or described.policy), method, key=key), "stream")


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Block with a list that receives the number of each SIGTERM and SIGINT."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda sign, _: came.append(sign)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _properties(path: Path | None) -> dict[str, str]:
    """Properties of a file with a ``name=value`` per line; blank lines and comments are ignored."""
    if path is None:
        return {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read as properties", path=path) from error
    found = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, sign, value = line.partition("=")
            if not sign:
                raise InputError(f"line {number} is not name=value", path=path)
            found[name.strip()] = value.strip()
    return found


def _print_counts(service: MessageService) -> None:
    def text(counts: Counter[str]) -> str:
        return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()) if n) or "none"

    click.echo(f"messages: {text(service.counts)}", err=True)
    click.echo(f"routes: {text(service.reasons)}", err=True)
    click.echo(f"findings: {text(service.findings)}", err=True)


class LiveView:
    """Progress line of a stream on a terminal.

    Args:
        out: Standard error; nothing is written if it is not a terminal.
        service: The service whose counts are shown.
    """

    def __init__(self, out: IO[str], service: MessageService) -> None:
        self._out, self._service = out, service
        self._is_on = out.isatty()
        self._last, self._committed = time.monotonic(), 0

    def observe(self, progress: Progress) -> None:
        """Show the progress, at most twice a second."""
        now = time.monotonic()
        if not self._is_on or now - self._last < _EVERY_S:
            return
        rate = (progress.committed - self._committed) / (now - self._last)
        self._last, self._committed = now, progress.committed
        slowest = max((seconds for *_, seconds in progress.latencies), default=0.0)
        routes = ", ".join(f"{count:,} {route}" for route, count in self._service.reasons.most_common(3))
        self._out.write(
            f"\r\x1b[K{progress.committed:,} committed  {rate:,.0f}/s  lag {progress.lag:,}  {slowest * 1e3:.0f} ms"
            f"  {self._service.counts['unreadable']:,} unreadable"
            f"{f'  {progress.held:,} held back' if progress.held else ''}  {routes}"
        )
        self._out.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._is_on:
            self._out.write("\r\x1b[K")
            self._out.flush()
