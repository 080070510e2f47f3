"""What follows from the research questions for one data set: the code of ``microflow recommend``, on generated records.

Nothing here is a trial: it says what a person would be advised today, on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa

from microflow.descriptors import load_schema
from microflow.experiments.work import TOKENS, source, spec_of
from microflow.lab.experiment import scale_of
from microflow.lab.report import Answer, rounded
from microflow.sinks.writers import open_writer

if TYPE_CHECKING:
    from microflow.advise.capacity import ArchitectureLatency

__all__ = ["architecture_advice", "method_advice"]

_ROWS = {"smoke": 400, "quick": 1_000, "paper": 4_000}
_SERVED_ROWS = 20_000
_RATES = (1_000.0, 20_000.0, 200_000.0)
_LATENCY_MS = 250.0
_MOST_WORKERS = 64


def method_advice(profile: str) -> Answer:
    """The setting that keeps most information under the default limit of risk, and why (RQ-2)."""
    from microflow.advise.recommend import Goals, advise
    from microflow.advise.search import Constraints

    rows = scale_of(_ROWS, profile)
    with TemporaryDirectory(prefix="microflow-") as folder:
        file = Path(folder) / "records.csv"
        with open_writer(file, load_schema("healthcare").arrow) as writer:
            for flow in source({"data_type": "healthcare", "seed": 1}, rows):
                writer.write(flow.rows)
        found = advise(file, "healthcare", Constraints(), Goals())
    return Answer(f"Recommended for {rows:,} healthcare records: {' '.join(found.reasons())}").of(profile)


def architecture_advice(profile: str) -> Answer:
    """The architecture that keeps up and is done first, by how many records arrive (RQ-1).

    Where one worker cannot keep up with any, it says how many can that share the records evenly.
    """
    from microflow.advise.capacity import compare_architectures, preferred
    from microflow.engine.service import Service, Workload, measured_costs

    config = {"data_type": "healthcare", "method": TOKENS, "seed": 1}
    spec, rows = spec_of(config), pa.concat_batches([flow.rows for flow in source(config, _SERVED_ROWS)])
    costs = measured_costs(Service(spec, Workload(rows)))

    def advised(rate: float) -> ArchitectureLatency | None:
        return preferred(compare_architectures(spec, rows, rate, costs=costs), _LATENCY_MS)

    said = [_advice(rate, advised) for rate in _RATES]
    return Answer(
        "Recommended where records arrive one by one, by the lowest p99 that this machine's costs give in simulated "
        f"time, within {_LATENCY_MS:g} ms: {'; '.join(said)}. A file that is there as a whole goes to batch."
    ).of(profile)


def _advice(rate: float, advised: Callable[[float], ArchitectureLatency | None]) -> str:
    """Which architecture at this rate; where none keeps up, how many workers would, each with its part of it."""
    arrive = f"at {rounded(rate)} records/s"
    for workers in range(1, _MOST_WORKERS + 1):
        chosen = advised(rate / workers)
        if chosen is None:
            continue
        named = f"{chosen.pipeline} ({rounded(chosen.p99_ms)} ms"
        if workers == 1:
            return f"{arrive} {named})"
        return f"{arrive} no architecture keeps up with one worker on this machine, {workers} would as {named} each)"
    return f"{arrive} no architecture keeps up, not even with {_MOST_WORKERS} workers like this machine's"
