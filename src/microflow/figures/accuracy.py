"""How well violations are found: precision and recall of every rule against the ground truth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, PAGE_IN, canvas, titled

__all__ = ["draw"]

#: Measure to its shift around a rule's line, colour, fill and marker.
_MEASURES = {"recall": (-0.16, "#0072B2", "#0072B2", "o"), "precision": (0.16, "#111111", "white", "s")}


def draw(frame: pd.DataFrame) -> Figure:
    """One panel a data type, one line a rule: recall (filled) and precision (open), with Wilson intervals.

    The panel says whose rules they are: a regulation may hold for several data types, and several for one.

    Columns: ``data_type``, ``regulation``, ``rule``, and (0 to 1) ``recall``, ``recall_low``, ``recall_high``,
    ``precision``, ``precision_low``, ``precision_high``.
    """
    types = list(frame["data_type"].unique())
    tallest = int(frame["data_type"].value_counts().max())
    width = COLUMN_IN if len(types) == 1 else PAGE_IN
    figure, axes = canvas(width, 0.85 + 0.14 * tallest, ncols=len(types), sharex=True)
    low = min(frame["recall_low"].min(), frame["precision_low"].min())
    for ax, data_type in zip(axes, types, strict=True):
        own = frame[frame["data_type"] == data_type]
        _panel(ax, own, tallest)
        ax.set_xlim(low - 0.08 * (1 - low), 1 + 0.05 * (1 - low))
        titled(ax, data_type, ", ".join(own["regulation"].unique()))
    figure.supxlabel("Share (1 is faultless)", fontsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1)
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, tallest: int) -> None:
    for measure, (shift, color, fill, marker) in _MEASURES.items():
        heights = [row + shift for row in range(len(frame))]
        ax.hlines(heights, frame[f"{measure}_low"], frame[f"{measure}_high"], color=color, linewidth=0.8)
        ax.plot(frame[measure], heights, marker, color=color, markerfacecolor=fill, markersize=2.6, label=measure)
    # A regulation that the title alone names need not be said on every line.
    one = len(frame["regulation"].unique()) == 1
    ax.set_yticks(range(len(frame)), [rule.partition("-")[2] if one else rule for rule in frame["rule"]])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(tallest - 0.4, -0.6)
    ax.grid(visible=True)
    ax.locator_params(axis="x", nbins=3)
