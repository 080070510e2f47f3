"""A topology that could not work is refused when it is declared."""

import pytest

from microflow.engine.bolts import AnonymizeBolt, ComplianceBolt
from microflow.engine.topology import ONE_BOLT_TOPOLOGY, STREAM_TOPOLOGY, Component, Stream, Topology
from microflow.errors import TopologyError

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
