"""What database work inside the clock would have added to the measured time."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, GREY, canvas, look, plain_log

__all__ = ["draw"]

#: Kind of work to its shift around the line, and to the arm whose look it has.
_WORKS = {"microflows": (-0.15, "batch"), "records": (0.15, "stream")}
_NAMES = {"microflows": "in microflows", "records": "record by record"}


def draw(frame: pd.DataFrame) -> Figure:
    """One dot with its interval a way to contaminate the clock and a kind of work; 1 is the clean measurement.

    Columns: ``work`` (``microflows`` or ``records``), ``arm``, ``ratio``, ``low``, ``high`` (measured time over clean
    time), ``noise_floor`` (a part).
    """
    arms = list(frame["arm"].unique())
    figure, (ax,) = canvas(COLUMN_IN, 0.8 + 0.3 * len(arms))
    plain_log(ax, "x")
    floor = 1 + float(frame["noise_floor"].max())
    ax.axvspan(1 / floor, floor, color="#dddddd", linewidth=0)
    ax.axvline(1, color=GREY, linewidth=0.6)
    for work, (shift, arm) in _WORKS.items():
        rows, style = frame[frame["work"] == work], look(arm)
        heights = [arms.index(name) + shift for name in rows["arm"]]
        ax.hlines(heights, rows["low"], rows["high"], color=style.color, linewidth=1.4)
        ax.plot(rows["ratio"], heights, style.marker, color=style.color, label=_NAMES[work])
        for height, row in zip(heights, rows.to_dict("records"), strict=True):
            ax.annotate(
                _times(row["ratio"]), (row["high"], height), xytext=(4, 0), textcoords="offset points", va="center",
                color=style.color,
            )  # fmt: skip
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=True, axis="x")
    ax.set_xlim(min(0.8, 0.9 * frame["low"].min(), 0.9 / floor), max(frame["high"].max(), floor) * 4)
    ax.set_xlabel("Measured time, multiple of the clean one")
    figure.legend(loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1)
    return figure


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"  # noqa: PLR2004 - two digits are enough from there on
