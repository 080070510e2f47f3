"""Privacy against utility: what each setting gives and takes, measured by attack and by loss."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, canvas, look

__all__ = ["NAMES", "draw"]

NAMES = {
    "k_anonymity": "k-anonymity",
    "differential_privacy": "local DP",
    "tokenization": "tokenization",
}

#: Methods whose labels stand below their points, so that curves that come near each other can both be read.
_BELOW = {"differential_privacy"}


def draw(frame: pd.DataFrame) -> Figure:
    """Each setting a point with intervals, settings of one method joined; lower left is what one wants.

    Columns: ``method``, ``setting`` (its label), ``risk``, ``risk_low``, ``risk_high`` (linkage attack, 0 to 1, control
    subtracted), ``loss``, ``loss_low``, ``loss_high`` (information loss, 0 to 1).
    """
    figure, (ax,) = canvas(COLUMN_IN, 2.7)
    for method, points in frame.groupby("method", sort=False):
        _method(ax, str(method), points)
    ax.grid(visible=True)
    ax.set_xlabel("Information loss (0 none, 1 all)")
    ax.set_ylabel("Linkage attack: success above control")
    left, right = frame["loss_low"].min(), frame["loss_high"].max()
    room = max(right - left, 0.05)
    ax.set_ylim(bottom=-0.09 * max(frame["risk_high"].max(), 0.1))
    ax.set_xlim(left - 0.06 * room, right + 0.32 * room)
    _labels(ax, frame)
    return figure


def _method(ax: Axes, method: str, points: pd.DataFrame) -> None:
    style = look(method)
    ax.plot(points["loss"], points["risk"], color=style.color, linestyle=style.line, linewidth=0.7)
    ax.vlines(points["loss"], points["risk_low"], points["risk_high"], color=style.color, linewidth=0.8)
    ax.hlines(points["risk"], points["loss_low"], points["loss_high"], color=style.color, linewidth=0.8)
    ax.plot(points["loss"], points["risk"], style.marker, color=style.color, markerfacecolor="white")


def _labels(ax: Axes, frame: pd.DataFrame) -> None:
    """The first and the last setting of each method are named; those between lie on the line between.

    Settings that fall on one point share a label.
    """
    for method, points in frame.groupby("method", sort=False):
        style, name = look(str(method)), NAMES.get(str(method), str(method))
        ends = [points.iloc[0], points.iloc[-1]]
        if ends[0][["loss", "risk"]].equals(ends[1][["loss", "risk"]]):
            texts = [f"{name}, {', '.join(points['setting'])}"]
        else:
            texts = [f"{name}, {ends[0]['setting']}", ends[1]["setting"]]
        for row, text in zip(ends, texts, strict=False):
            above = -6 if method in _BELOW else 6
            ax.annotate(
                text, (row["loss"], row["risk"]), xytext=(4, above), textcoords="offset points", va="center",
                color=style.color,
            )  # fmt: skip
