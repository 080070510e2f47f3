"""The Flux YAML says what the Python topology says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from microflow.processors.topology import HYBRID_TOPOLOGY, STREAM_TOPOLOGY, Topology
from microflow.storm.flux import flux


@pytest.mark.parametrize("topology", [STREAM_TOPOLOGY, HYBRID_TOPOLOGY], ids=lambda one: one.name)
def test_every_component_and_stream_is_written(topology: Topology) -> None:
    """One source: nothing is added, nothing forgotten."""
    document = yaml.safe_load(flux(topology, Path("/srv/job.json"), python="python3"))
    written = [one["id"] for one in document["spouts"] + document["bolts"]]
    assert written == [component.name for component in topology.components]
    assert [(s["from"], s["to"]) for s in document["streams"]] == [(s.source, s.target) for s in topology.streams]
    for one in document["spouts"] + document["bolts"]:
        assert one["constructorArgs"][0] == ["python3", "-m", "microflow.storm.shell", one["id"], "/srv/job.json"]
