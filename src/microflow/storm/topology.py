"""The stream topology as data, and as Storm's Flux YAML: one source for both.

A topology is one spout, bolts, one sink, and the streams between them. It is validated when it is built and reads as a
diagram (`Topology.to_mermaid`). No Java is written: every component is a shell component that runs ``python -m
microflow.storm.shell COMPONENT JOB``.

Source: Apache Storm, "Flux" (storm.apache.org, version 2.8).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from microflow.errors import TopologyError

__all__ = ["ONE_BOLT_TOPOLOGY", "STREAM_TOPOLOGY", "TOPOLOGIES", "Component", "Stream", "Topology", "flux"]

_SHAPES = {"spout": "([{}])", "bolt": "[{}]", "sink": "[({})]"}


@dataclass(frozen=True, slots=True)
class Component:
    """A ``spout``, a ``bolt`` or the ``sink``; ``parallelism`` is how many copies Storm runs."""

    name: str
    kind: str
    output: tuple[str, ...] = ()
    parallelism: int = 1


@dataclass(frozen=True, slots=True)
class Stream:
    """Tuples from one component to another; ``fields`` keeps equal values together and so keeps their order."""

    source: str
    target: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topology:
    """A directed acyclic graph from the spout to the sink.

    Raises:
        TopologyError: two components of one name, an unknown kind, not exactly one spout and one sink, a stream to or
            from nowhere or grouped by a field its source does not have, or a component on no way from spout to sink
            (which a cycle is too).
    """

    name: str
    components: tuple[Component, ...]
    streams: tuple[Stream, ...]

    def __post_init__(self) -> None:
        self._check_components()
        for stream in self.streams:
            self._check_stream(stream)
        for component in self.components:
            if component.kind != "sink" and not self.after(component.name):
                raise self._error(f"nobody reads {component.name!r}")
        if stranded := {component.name for component in self.components} - set(self.order):
            raise self._error(f"{min(stranded)!r} is on no way from spout to sink")

    def __getitem__(self, name: str) -> Component:
        return next(component for component in self.components if component.name == name)

    def of_kind(self, kind: str) -> tuple[Component, ...]:
        """The components of one kind."""
        return tuple(component for component in self.components if component.kind == kind)

    def after(self, name: str) -> tuple[str, ...]:
        """Who reads a component."""
        return tuple(stream.target for stream in self.streams if stream.source == name)

    @property
    def order(self) -> tuple[str, ...]:
        """Names from the spout on, every component after all that feed it (Kahn 1962)."""
        waiting = {
            component.name: {stream.source for stream in self.streams if stream.target == component.name}
            for component in self.components
        }
        done: list[str] = []
        ready = [component.name for component in self.of_kind("spout") if not waiting[component.name]]
        while ready:
            done.append(ready.pop(0))
            known = {*done, *ready}
            ready += [name for name, fed_by in waiting.items() if name not in known and fed_by and fed_by <= {*done}]
        return tuple(done)

    def _check_components(self) -> None:
        names = [component.name for component in self.components]
        if len(set(names)) != len(names):
            raise self._error("two components have one name")
        for component in self.components:
            if component.kind not in _SHAPES:
                raise self._error(f"{component.name!r} is of no known kind", f"kinds are: {', '.join(_SHAPES)}")
        for kind in ("spout", "sink"):
            if len(self.of_kind(kind)) != 1:
                raise self._error(f"exactly one {kind} is needed")

    def _check_stream(self, stream: Stream) -> None:
        where = f"stream {stream.source} -> {stream.target}"
        for end in (stream.source, stream.target):
            if all(component.name != end for component in self.components):
                raise self._error(f"{where}: there is no component {end!r}")
        if missing := set(stream.fields) - set(self[stream.source].output):
            raise self._error(f"{where}: no field {min(missing)!r} to group by")

    def to_mermaid(self) -> str:
        """The graph as a Mermaid diagram.

        >>> print(STREAM_TOPOLOGY.to_mermaid())
        flowchart LR
          records([records]) --> compliance[compliance]
          compliance[compliance] --> anonymize[anonymize]
          anonymize[anonymize] --> results[(results)]
        """
        drawn = {one.name: one.name + _SHAPES[one.kind].format(one.name) for one in self.components}
        arrows = []
        for stream in self.streams:
            label = f" {', '.join(stream.fields)} --" if stream.fields else ""
            arrows.append(f"  {drawn[stream.source]} --{label}> {drawn[stream.target]}")
        return "\n".join(["flowchart LR", *arrows])

    def _error(self, message: str, hint: str = "") -> TopologyError:
        return TopologyError(f"topology {self.name!r}: {message}", hint=hint)


_TUPLE = ("ordinal", "record", "violations")

STREAM_TOPOLOGY = Topology(
    "microflow-stream",
    (
        Component("records", "spout", ("ordinal", "record")),
        Component("compliance", "bolt", _TUPLE),
        Component("anonymize", "bolt", _TUPLE),
        Component("results", "sink"),
    ),
    (Stream("records", "compliance"), Stream("compliance", "anonymize"), Stream("anonymize", "results")),
)

#: A record's whole work in one bolt: a hop less. Nothing is routed: the adaptive router is `microflow stream`'s.
ONE_BOLT_TOPOLOGY = Topology(
    "microflow-one-bolt",
    (
        Component("records", "spout", ("ordinal", "record")),
        Component("work", "bolt", _TUPLE),
        Component("results", "sink"),
    ),
    (Stream("records", "work"), Stream("work", "results")),
)

#: What can be run on Storm: the stream's two bolts, or both as one.
TOPOLOGIES = {"stream": STREAM_TOPOLOGY, "one-bolt": ONE_BOLT_TOPOLOGY}

_WRAPPERS = "org.apache.storm.flux.wrappers"
#: The fields of every tuple: the record's ordinal, the record as JSON text (null where it may not be kept), and the
#: violations found in it as JSON text.
FIELDS = ["ordinal", "record", "violations"]


def flux(topology: Topology, job: Path, *, python: str = sys.executable, pending: int = 1_000) -> str:
    """The topology as Flux YAML.

    Args:
        topology: What is to run.
        job: The JSON file that tells every component its work; see `microflow.storm.shell`.
        python: The interpreter on the workers.
        pending: Back-pressure: the tuples that may be on their way at a time (``topology.max.spout.pending``).
    """
    document: dict[str, Any] = {
        "name": topology.name,
        "config": {
            "topology.workers": 1,
            "topology.max.spout.pending": pending,
            "topology.message.timeout.secs": 30,
            "topology.acker.executors": 1,
        },
        "spouts": [_component(one, job, python) for one in topology.components if one.kind == "spout"],
        "bolts": [_component(one, job, python) for one in topology.components if one.kind != "spout"],
        "streams": [_stream(stream) for stream in topology.streams],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _component(component: Component, job: Path, python: str) -> dict[str, Any]:
    wrapper = "spouts.FluxShellSpout" if component.kind == "spout" else "bolts.FluxShellBolt"
    return {
        "id": component.name,
        "className": f"{_WRAPPERS}.{wrapper}",
        "constructorArgs": [[python, "-m", "microflow.storm.shell", component.name, str(job)], FIELDS],
        "parallelism": component.parallelism,
    }


def _stream(stream: Stream) -> dict[str, Any]:
    grouping = {"type": "FIELDS", "args": list(stream.fields)} if stream.fields else {"type": "SHUFFLE"}
    return {
        "name": f"{stream.source}-{stream.target}",
        "from": stream.source,
        "to": stream.target,
        "grouping": grouping,
    }
