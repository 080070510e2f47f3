"""The Flux YAML says what the Python topology says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from microflow.engine.topology import ONE_BOLT_TOPOLOGY, STREAM_TOPOLOGY, Topology
from microflow.jvm.java import find_java
from microflow.jvm.maven import jars
from microflow.storm.flux import flux


@pytest.mark.parametrize("topology", [STREAM_TOPOLOGY, ONE_BOLT_TOPOLOGY], ids=lambda one: one.name)
def test_every_component_and_stream_is_written(topology: Topology) -> None:
    """One source: nothing is added, nothing forgotten."""
    document = yaml.safe_load(flux(topology, Path("/srv/job.json"), python="python3"))
    written = [one["id"] for one in document["spouts"] + document["bolts"]]
    assert written == [component.name for component in topology.components]
    assert [(s["from"], s["to"]) for s in document["streams"]] == [(s.source, s.target) for s in topology.streams]
    for one in document["spouts"] + document["bolts"]:
        assert one["constructorArgs"][0] == ["python3", "-m", "microflow.storm.shell", one["id"], "/srv/job.json"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("topology", [STREAM_TOPOLOGY, ONE_BOLT_TOPOLOGY], ids=lambda one: one.name)
def test_storm_itself_reads_the_topology(topology: Topology, tmp_path: Path, needs_jars: Callable[[str], None]) -> None:
    """Flux's own dry run builds it and lists the same components and streams."""
    needs_jars("storm")
    path = tmp_path / "topology.yaml"
    path.write_text(flux(topology, Path("/srv/job.json")), "utf-8")
    classpath = os.pathsep.join(map(str, jars("storm")))
    command = [str(find_java()), "-cp", classpath, "org.apache.storm.flux.Flux", "--no-splash", "--dry-run", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    for component in topology.components:
        assert f"{component.name} [{component.parallelism}]" in said
    for stream in topology.streams:
        assert f"{stream.source} --SHUFFLE--> {stream.target}" in said
