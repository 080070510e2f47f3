"""The hybrid's decisions over a burst: what arrived, how it was served, and what it cost beside the static arms."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, GREY, canvas, label_lines, look, plain_log

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """Three panels on one time axis.

    Columns: ``arm``, ``time_s`` (start of a slice), ``offered`` (records/s), ``size`` (median records served at once)
    and ``p99_ms`` by slice; the middle panel shows the arm ``hybrid``.
    """
    figure, (top, middle, bottom) = canvas(COLUMN_IN, 3.5, nrows=3, sharex=True, height_ratios=(1, 1, 1.6))
    hybrid = frame[frame["arm"] == "hybrid"]
    top.fill_between(hybrid["time_s"], hybrid["offered"], step="post", color="#d0d0d0", linewidth=0)
    top.set_ylim(bottom=0)
    top.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f}k")
    top.set_title("Offered load (records/s)")
    middle.plot(hybrid["time_s"], hybrid["size"], drawstyle="steps-post", color=look("hybrid").color, linewidth=0.8)
    plain_log(middle, "y")
    # Up to a whole morsel: nothing of what was served is cut off.
    middle.set_ylim(0.7, 2 * max(float(hybrid["size"].max()), 1_000))
    middle.axhline(1, color=GREY, linewidth=0.4)
    middle.set_title("Hybrid: records served at once")
    ends = []
    for arm, curve in frame.groupby("arm", sort=False):
        style = look(str(arm))
        bottom.plot(curve["time_s"], curve["p99_ms"], color=style.color, linestyle=style.line, linewidth=0.9)
        last = curve.iloc[-1]
        ends.append((last["time_s"], last["p99_ms"], str(arm)))
    plain_log(bottom, "y")
    bottom.grid(visible=True, axis="y")
    bottom.set_title("Latency, p99 (ms)")
    bottom.set_xlabel("Time (s)")
    end = frame["time_s"].max()
    bottom.set_xlim(0, end * 1.18)
    figure.draw_without_rendering()
    label_lines(bottom, ends)
    return figure
