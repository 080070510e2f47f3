"""Storm's Flux YAML, generated from the topology declared in Python: one source for both.

Source: Apache Storm, "Flux" (storm.apache.org, version 2.8). No Java is written: every component is a shell component
that runs ``python -m microflow.storm.shell COMPONENT JOB``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from microflow.engine.topology import ONE_BOLT_TOPOLOGY, STREAM_TOPOLOGY, Component, Stream, Topology

__all__ = ["TOPOLOGIES", "flux"]

_WRAPPERS = "org.apache.storm.flux.wrappers"
#: The fields of every tuple: the record's ordinal, the record as JSON text (null where it may not be kept), and the
#: violations found in it as JSON text.
FIELDS = ["ordinal", "record", "violations"]
#: What can be run on Storm: the stream's two bolts, or both as one.
TOPOLOGIES = {"stream": STREAM_TOPOLOGY, "one-bolt": ONE_BOLT_TOPOLOGY}


def flux(topology: Topology, job: Path, *, python: str = sys.executable, pending: int = 1_000) -> str:
    """The topology as Flux YAML.

    Args:
        topology: What is declared in `microflow.engine.topology`.
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
