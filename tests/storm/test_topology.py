"""A topology that could not work is refused when it is declared; the Flux YAML says what is declared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.errors import TopologyError
from microflow.jvm import find_java, jars
from microflow.storm.topology import ONE_BOLT_TOPOLOGY, STREAM_TOPOLOGY, Component, Stream, Topology, flux

SPOUT, BOLT, SINK = Component("in", "spout", ("key",)), Component("work", "bolt"), Component("out", "sink")
WAY = (Stream("in", "work"), Stream("work", "out"))


def test_the_stream_is_spout_two_bolts_sink() -> None:
    """In the order that the processor and Storm run them, under the bolts' own names."""
    assert STREAM_TOPOLOGY.order == ("records", ComplianceBolt.name, AnonymizeBolt.name, "results")
    assert ONE_BOLT_TOPOLOGY.order == ("records", "work", "results")


def test_a_diamond_is_fine() -> None:
    """Two bolts side by side, joined at the sink; grouping shows in the diagram."""
    streams = (Stream("in", "work", ("key",)), Stream("in", "other"), Stream("work", "out"), Stream("other", "out"))
    diamond = Topology("t", (SINK, Component("other", "bolt"), BOLT, SPOUT), streams)
    assert diamond.order[0] == "in"
    assert diamond.order[-1] == "out"
    assert "in([in]) -- key --> work[work]" in diamond.to_mermaid()


@pytest.mark.parametrize(
    ("components", "streams", "message"),
    [
        ((SPOUT, BOLT, BOLT, SINK), WAY, "one name"),
        ((SPOUT, Component("work", "blot"), SINK), WAY, "no known kind"),
        ((SPOUT, BOLT), (Stream("in", "work"),), "exactly one sink"),
        ((SPOUT, Component("b", "spout"), BOLT, SINK), WAY, "exactly one spout"),
        ((SPOUT, BOLT, SINK), (*WAY, Stream("work", "nowhere")), "no component 'nowhere'"),
        ((SPOUT, BOLT, SINK), (Stream("in", "work", ("name",)), WAY[1]), "no field 'name'"),
        ((SPOUT, BOLT, SINK), (Stream("in", "out"), Stream("in", "work")), "nobody reads 'work'"),
        ((SPOUT, BOLT, SINK), (*WAY, Stream("work", "work")), "on no way"),
        ((SPOUT, BOLT, SINK), (*WAY, Stream("work", "in")), "on no way"),
        ((SPOUT, BOLT, SINK), (Stream("in", "out"), Stream("work", "out")), "on no way"),
    ],
)
def test_what_cannot_run_is_refused(
    components: tuple[Component, ...], streams: tuple[Stream, ...], message: str
) -> None:
    """By name, before anything starts."""
    with pytest.raises(TopologyError, match=message):
        Topology("t", components, streams)


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
