"""What database work inside the clock would have added to the measured time."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, GREY, canvas, plain_log

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """One dot with its interval a way to contaminate the clock, beside the clean measurement.

    Columns: ``arm``, ``ratio``, ``low``, ``high`` (measured time over clean time), ``noise_floor`` (a part).
    """
    figure, (ax,) = canvas(COLUMN_IN, 0.55 + 0.24 * len(frame))
    plain_log(ax, "x")
    floor = 1 + float(frame["noise_floor"].iloc[0])
    ax.axvspan(1 / floor, floor, color="#dddddd", linewidth=0)
    ax.axvline(1, color=GREY, linewidth=0.6)
    for height, row in enumerate(frame.to_dict("records")):
        ax.plot([row["low"], row["high"]], [height] * 2, color="#0072B2", linewidth=1.6, solid_capstyle="butt")
        ax.plot(row["ratio"], height, "o", color="#0072B2")
        ax.annotate(_times(row["ratio"]), (row["high"], height), xytext=(5, 0), textcoords="offset points", va="center")
    ax.set_yticks(range(len(frame)), frame["arm"])
    ax.set_ylim(len(frame) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=True, axis="x")
    ax.set_xlim(min(0.8, 0.9 * frame["low"].min()), frame["high"].max() ** 1.3 * 1.2)
    ax.set_xlabel("Measured time, as a multiple of the clean measurement")
    return figure


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"  # noqa: PLR2004 - two digits are enough from there on
