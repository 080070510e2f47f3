"""The stream topology as data: one spout, bolts, one sink, and the streams between them.

It is validated when it is built, reads as a diagram (`Topology.to_mermaid`), runs in this process
(`microflow.processors.stream`) and on Apache Storm (`microflow.storm`), which generates its Flux YAML from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from microflow.errors import TopologyError

__all__ = ["HYBRID_TOPOLOGY", "STREAM_TOPOLOGY", "Component", "Stream", "Topology"]


@dataclass(frozen=True, slots=True)
class Component:
    """A spout, a bolt or the sink; ``parallelism`` is how many copies Storm runs."""

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
        TopologyError: a stream names a component that is not there, a component is not reachable, or there is a cycle.
    """

    name: str
    components: tuple[Component, ...]
    streams: tuple[Stream, ...]

    def __post_init__(self) -> None:
        names = [component.name for component in self.components]
        if len(set(names)) != len(names):
            raise TopologyError(f"topology {self.name!r} has two components of one name")
        for kind in ("spout", "sink"):
            if sum(component.kind == kind for component in self.components) != 1:
                raise TopologyError(f"topology {self.name!r} needs exactly one {kind}")
        for stream in self.streams:
            for end in (stream.source, stream.target):
                if end not in names:
                    raise TopologyError(f"stream {stream.source} -> {stream.target}: there is no component {end!r}")
        if unread := set(names) - set(self.order):
            raise TopologyError(f"topology {self.name!r}: {min(unread)!r} is on no way from spout to sink")

    @property
    def order(self) -> tuple[str, ...]:
        """Names in an order in which every component comes after all that feed it (Kahn 1962)."""
        waiting = {
            component.name: {s.source for s in self.streams if s.target == component.name}
            for component in self.components
        }
        spout = next(component.name for component in self.components if component.kind == "spout")
        done: list[str] = []
        ready = [name for name, sources in waiting.items() if not sources and name == spout]
        while ready:
            done.append(ready.pop())
            ready += [
                name
                for name, sources in waiting.items()
                if name not in {*done, *ready} and sources and sources <= set(done)
            ]
        return tuple(done)

    def __getitem__(self, name: str) -> Component:
        return next(component for component in self.components if component.name == name)

    def to_mermaid(self) -> str:
        """The graph as a Mermaid diagram.

        >>> print(STREAM_TOPOLOGY.to_mermaid())
        flowchart LR
          records([records]) --> compliance[compliance]
          compliance[compliance] --> anonymize[anonymize]
          anonymize[anonymize] --> results[(results)]
        """
        shapes = {"spout": "([{}])", "sink": "[({})]"}
        drawn = {c.name: c.name + shapes.get(c.kind, "[{}]").format(c.name) for c in self.components}
        return "\n".join(["flowchart LR", *(f"  {drawn[s.source]} --> {drawn[s.target]}" for s in self.streams)])


STREAM_TOPOLOGY = Topology(
    "microflow-stream",
    (
        Component("records", "spout", ("ordinal", "record")),
        Component("compliance", "bolt", ("ordinal", "record", "violations")),
        Component("anonymize", "bolt", ("ordinal", "record", "violations")),
        Component("results", "sink"),
    ),
    (Stream("records", "compliance"), Stream("compliance", "anonymize"), Stream("anonymize", "results")),
)

HYBRID_TOPOLOGY = Topology(
    "microflow-hybrid",
    (
        Component("records", "spout", ("ordinal", "record")),
        Component("router", "bolt", ("ordinal", "record", "violations")),
        Component("results", "sink"),
    ),
    (Stream("records", "router"), Stream("router", "results")),
)
