"""Tables for the screen alone: sparklines, which a typesetter has no letters for, and reasons instead of tables."""

from __future__ import annotations

import pandas as pd

from microflow.experiments import cores, scalability, transport
from microflow.experiments.results import IncompleteError, Results
from microflow.experiments.runner import Skipped
from microflow.figures.paper import TABLES
from microflow.figures.style import short
from microflow.figures.tables import Table, sparkline
from microflow.store.experiments import ExperimentStore

__all__ = ["scaling_table", "table_or_reason"]

_MIB = 2**20
#: Tables of what may be left out, and what says why a machine cannot run it.
_MISSING = {"storm": transport.missing, "cores": cores.missing}


def scaling_table(profile: str, store: ExperimentStore) -> Table:
    """By pipeline: the exponent with its interval, and what the volumes did to rate and memory."""
    results = Results.read(scalability.volumes(profile), store)
    laws, frame = scalability.laws(results), results.frame
    frame = frame.assign(
        rate=frame["rows"] / frame["samples"].map(lambda values: values[0]), mib=frame["peak_rss_bytes"] / _MIB
    )
    volumes = sorted(frame["rows"].unique())
    rows = []
    for pipeline, law in laws.items():
        own = frame[frame["pipeline"] == pipeline].groupby("rows")[["rate", "mib"]].median()
        found = law.exponent
        interval = "" if pd.isna(found.low) else f" [{found.low:.2f}, {found.high:.2f}]"
        rows.append([pipeline, f"{found.value:.2f}{interval}", _course(own["rate"]), _course(own["mib"])])
    return Table(
        ["pipeline", "exponent", "records/s", "peak memory, MiB"],
        rows,
        f"Time grows with the number of records to the power of the exponent (95 % interval). Bars begin at zero, "
        f"one a volume from {short(volumes[0])} to {short(volumes[-1])} records; first and last are written out.",
    )


def table_or_reason(name: str, profile: str, store: ExperimentStore) -> Table | Skipped:
    """``storm`` or ``cores`` of `microflow.figures.paper.TABLES`, or why there is none.

    A machine without Java does without both, and reads everything else.
    """
    try:
        return TABLES[name](profile, store)
    except IncompleteError as error:
        return Skipped(error.experiment, _MISSING[name]() or error.reason)


def _course(values: pd.Series[float]) -> str:
    """First value, bars, last value. From zero, so that what hardly changes looks like it."""
    first, last = short(float(values.iloc[0])), short(float(values.iloc[-1]))
    return f"{first} {sparkline(values.tolist(), low=0)} {last}"
