"""What is advised about architectures is a sentence that can be acted on."""

from __future__ import annotations

from microflow.advise.capacity import ArchitectureLatency
from microflow.experiments.recommendation import _advice


def up_to(most: float):
    """One worker keeps up with so many records/s."""
    return lambda rate: ArchitectureLatency("hybrid", rate, 1.0, 3.0, is_sustained=True) if rate <= most else None


def test_where_nothing_keeps_up_it_says_how_many_workers_would() -> None:
    """Never `none`: the fewest workers that share the records, or that there are not enough."""
    assert _advice(20_000, up_to(60_000)) == "at 20,000 records/s hybrid (3 ms)"
    assert _advice(200_000, up_to(60_000)) == (
        "at 200,000 records/s no architecture keeps up with one worker on this machine, 4 would as hybrid (3 ms each)"
    )
    assert _advice(200_000, up_to(100)).endswith("not even with 64 workers like this machine's")
