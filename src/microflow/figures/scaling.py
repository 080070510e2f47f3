"""Time against volume, with the exponent that fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, canvas, label_lines, look, plain_log

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """Every trial a mark, every arm a fitted power law on logarithmic axes.

    Columns: ``arm``, ``rows``, ``seconds``, and the fit, repeated: ``scale``, ``exponent``, ``exponent_low``,
    ``exponent_high`` (seconds = scale · rows ^ exponent).
    """
    figure, (ax,) = canvas(COLUMN_IN, 2.5)
    low, high = frame["rows"].min(), frame["rows"].max()
    ends = []
    for arm, points in frame.groupby("arm", sort=False):
        style, fit = look(str(arm)), points.iloc[0]
        line = np.array([low, high]) ** fit["exponent"] * fit["scale"]
        ax.plot([low, high], line, color=style.color, linestyle=style.line, linewidth=0.8)
        ax.plot(points["rows"], points["seconds"], style.marker, color=style.color, markerfacecolor="none")
        name = str(arm).replace("differential privacy", "local DP")
        ends.append((high, line[1], f"{name} ${_power(fit)}$"))
    plain_log(ax, "x")
    plain_log(ax, "y")
    ax.grid(visible=True)
    ax.set_xlim(low / 1.3, high * (high / low) ** 0.9)
    ax.set_xticks(sorted(frame["rows"].unique()))
    ax.set_xlabel("Records")
    ax.set_ylabel("Pure processing (s)")
    figure.draw_without_rendering()
    label_lines(ax, ends, gap_points=11)
    return figure


def _power(fit: pd.Series[float]) -> str:
    half = (fit["exponent_high"] - fit["exponent_low"]) / 2
    interval = "" if np.isnan(half) else rf" \pm {half:.2f}"
    return rf"n^{{{fit['exponent']:.2f}{interval}}}"
