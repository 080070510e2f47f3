"""The Flux YAML says what the topology says, and Storm reads it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.jvm import find_java, jars
from microflow.storm.local import TOPOLOGIES, Topology, flux


def test_the_stream_is_spout_two_bolts_sink() -> None:
    """In the order that this process runs them, under the bolts' own names."""
    assert TOPOLOGIES["stream"].components == ("records", ComplianceBolt.name, AnonymizeBolt.name, "results")
    assert TOPOLOGIES["one-bolt"].components == ("records", "work", "results")


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=lambda one: one.name)
def test_every_component_and_stream_is_written(topology: Topology) -> None:
    """One source: nothing is added, nothing forgotten."""
    document = yaml.safe_load(flux(topology, Path("/srv/job.json"), python="python3"))
    written = [one["id"] for one in document["spouts"] + document["bolts"]]
    assert written == list(topology.components)
    assert [(s["from"], s["to"]) for s in document["streams"]] == list(pairwise(topology.components))
    for one in document["spouts"] + document["bolts"]:
        assert one["constructorArgs"][0] == ["python3", "-m", "microflow.storm.shell", one["id"], "/srv/job.json"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=lambda one: one.name)
def test_storm_itself_reads_the_topology(topology: Topology, tmp_path: Path, needs_jars: Callable[[str], None]) -> None:
    """Flux's own dry run builds it and lists the same components and streams."""
    needs_jars("storm")
    path = tmp_path / "topology.yaml"
    path.write_text(flux(topology, Path("/srv/job.json")), "utf-8")
    classpath = os.pathsep.join(map(str, jars("storm")))
    command = [str(find_java()), "-cp", classpath, "org.apache.storm.flux.Flux", "--no-splash", "--dry-run", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    for component in topology.components:
        assert f"{component} [1]" in said
    for source, target in pairwise(topology.components):
        assert f"{source} --SHUFFLE--> {target}" in said
