"""``microflow stream``: records from a topic, or from standard input, as they arrive."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import click

from microflow.anonymize.contract import Method
from microflow.anonymize.keys import read_key
from microflow.cli.options import FiniteRange, method_options, method_settings, schema_option
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.errors import InputError, SetupError
from microflow.processors.contract import ProcessingSpec
from microflow.processors.service import MessageService, encoded
from microflow.settings import MICROFLOW_ROWS

__all__ = ["stream"]


@click.command()
@click.argument("source")
@click.argument("sink")
@schema_option
@click.option("--policy", help="Which rules: a shipped name or your YAML file; by default the schema's.")
@click.option("--pipeline", type=click.Choice(["stream", "hybrid"]), default="hybrid", show_default=True)
@method_options
@click.option("--group", help="Processes of one group share the partitions; by default from schema and topic.")
@click.option("--dead-letters", help="Topic for messages that cannot be read; by default TOPIC.dead.")
@click.option("--client-config", type=click.Path(path_type=Path), help="Properties for Kafka: SASL, TLS.")
@click.option("--until-idle", type=FiniteRange(0, min_open=True), help="End when nothing came for so many seconds.")
def stream(*, source: str, sink: str, schema: str, policy: str | None, pipeline: str, **options: Any) -> None:
    """Check and anonymize records from SOURCE as they arrive, and send them to SINK.

    Either both are kafka://HOST:PORT/TOPIC, on one cluster, and each record is processed exactly once; or both are '-'
    (JSON Lines). Both topics and the dead letters' must exist. SIGTERM commits what is under way and ends.
    The method must release a record by itself: k-anonymity is not among them yet.
    """
    names = ("group", "dead_letters", "client_config", "until_idle")
    group, dead, config, until_idle = (options.pop(name) for name in names)
    spec = _spec(schema, policy, options)
    service = MessageService(spec, hybrid=pipeline == "hybrid")
    if source == sink == "-":
        _lines(service, sys.stdin.buffer, sys.stdout.buffer)
    else:
        (address, topic), (target_address, target) = _place(source), _place(sink)
        if address != target_address:
            raise SetupError("a transaction spans one cluster", hint="SOURCE and SINK name the same HOST:PORT")
        _topic(
            service,
            address=address,
            topic=topic,
            target=target,
            dead=dead or f"{topic}.dead",
            group=group or f"microflow-{spec.schema.name}-{topic}",
            client=_properties(config),
            until_idle=until_idle,
        )
    _tell(service)


def _spec(schema: str, policy: str | None, options: dict[str, Any]) -> ProcessingSpec:
    described, method = load_schema(schema), method_settings(options)
    key = read_key(method.key_bits) if method.method is Method.TOKENIZATION else None
    return ProcessingSpec(described, load_policy(policy or described.policy), method, key=key)


def _place(text: str) -> tuple[str, str]:
    parts = urlsplit(text)
    if parts.scheme != "kafka" or not parts.netloc or not parts.path.strip("/"):
        raise SetupError(f"{text!r} is no place for records", hint="kafka://HOST:PORT/TOPIC, or '-' for both")
    return parts.netloc, parts.path.strip("/")


def _topic(
    service: MessageService,
    *,
    address: str,
    topic: str,
    target: str,
    dead: str,
    group: str,
    client: dict[str, str],
    until_idle: float | None,
) -> None:
    from microflow.topics.exchange import Exchange  # the client is slow to load

    with _stopping() as stopped, Exchange(address, topic, group, client) as exchange:
        last = time.monotonic()
        while not stopped:
            received = exchange.poll(MICROFLOW_ROWS, 0.2)
            if not received:
                if until_idle is not None and time.monotonic() - last > until_idle:
                    break
                continue
            messages = []
            for one, outcome in zip(received, service([one.value for one in received]), strict=True):
                if outcome.released is not None:
                    messages.append((target, one.key, encoded(outcome.released)))
                elif outcome.unreadable is not None:
                    place = {"partition": one.partition, "offset": one.offset, "reason": outcome.unreadable}
                    messages.append((dead, None, json.dumps(place).encode()))
            if not exchange.commit(messages):
                service.counts["given again"] += len(received)
            last = time.monotonic()


def _lines(service: MessageService, source: IO[bytes], sink: IO[bytes]) -> None:
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        outcome = service([line])[0]
        if outcome.released is not None:
            sink.write(encoded(outcome.released) + b"\n")
            sink.flush()
        elif outcome.unreadable is not None:
            click.echo(f"line {number}: {outcome.unreadable}", err=True)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT comes."""
    came: list[int] = []
    before = {one: signal.signal(one, lambda sign, _: came.append(sign)) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _properties(path: Path | None) -> dict[str, str]:
    """``name=value`` lines; blank ones and comments are left out."""
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


def _tell(service: MessageService) -> None:
    def text(counts: Counter[str]) -> str:
        return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()) if n) or "none"

    click.echo(f"messages: {text(service.counts)}", err=True)
    click.echo(f"routes: {text(service.reasons)}", err=True)
