"""How well violations are found: precision and recall of every rule against the ground truth."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, canvas

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """One line a rule: recall (filled) and precision (open), each with its Wilson interval.

    Columns: ``rule``, ``recall``, ``recall_low``, ``recall_high``, ``precision``, ``precision_low``,
    ``precision_high`` (0 to 1).
    """
    figure, (ax,) = canvas(COLUMN_IN, 0.75 + 0.135 * len(frame))
    measures = (("recall", -0.14, "#0072B2", "#0072B2", "o"), ("precision", 0.14, "#111111", "white", "s"))
    for measure, shift, color, fill, marker in measures:
        heights = [row + shift for row in range(len(frame))]
        ax.hlines(heights, frame[f"{measure}_low"], frame[f"{measure}_high"], color=color, linewidth=0.9)
        ax.plot(frame[measure], heights, marker, color=color, markerfacecolor=fill, markersize=3, label=measure)
    ax.set_yticks(range(len(frame)), frame["rule"])
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.set_ylim(len(frame) - 0.4, -0.6)
    low = min(frame["recall_low"].min(), frame["precision_low"].min())
    ax.set_xlim(low - 0.08 * (1 - low), 1 + 0.02 * (1 - low))
    ax.grid(visible=True)
    ax.set_xlabel("Share (1 is faultless)")
    figure.legend(loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1)
    return figure
