"""The table of RQ-1 on Apache Storm."""

from __future__ import annotations

import math
from typing import Any

from microflow.experiments import transport
from microflow.experiments.results import Results
from microflow.figures.style import short
from microflow.figures.tables import Table, with_interval
from microflow.store.experiments import ExperimentStore

__all__ = ["storm_table"]


def storm_table(profile: str, store: ExperimentStore) -> Table:
    """Rate, time beside the stream's and latency of every arm of `microflow.experiments.transport`.

    Raises:
        IncompleteError: not all of its trials have run.
    """
    found = transport.frame(Results.read(transport.matrix(profile), store)).to_dict("records")
    load = next(row["load"] for row in found if not math.isnan(row["load"]))
    return Table(
        ["engine", "records/s", "time beside stream", "p50 (ms)", "p99 (ms)"],
        [_row(row) for row in found],
        "The same rows in process (pure processing) and on Apache Storm (wall time from acknowledgement to "
        f"acknowledgement, warm-up cut); latency from due to acknowledged at {short(load)} records/s, which come as "
        "they come (Poisson). Intervals are 95 % over blocks.",
    )


def _row(row: dict[Any, Any]) -> list[str]:
    ratio = row["over_stream"]
    beside = "1" if row["arm"] == "stream" else with_interval(ratio.value, ratio.low, ratio.high, "×")
    latency = ["" if math.isnan(row[name]) else f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms")]
    return [row["arm"], with_interval(row["rate"], row["low"], row["high"]), beside, *latency]
