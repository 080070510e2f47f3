"""Privacy against utility: what each setting gives and takes, measured by attack and by loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, canvas, look

__all__ = ["NAMES", "draw"]

NAMES = {
    "k_anonymity": "k-anonymity",
    "k_anonymity_stream": "CASTLE",
    "differential_privacy": "local DP",
    "tokenization": "tokenization",
}

#: Methods whose labels stand below their points, so that curves that come near each other can both be read.
_BELOW = {"differential_privacy"}
#: Parts of an axis within which two names would touch.
_NEAR = 0.25


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

    Where the two lie so near each other that their names would touch, one name speaks for all.
    """
    for method, points in frame.groupby("method", sort=False):
        name, first, last = NAMES.get(str(method), str(method)), points.iloc[0], points.iloc[-1]
        if len(points) == 1:
            _name(ax, first, f"{name}, {first['setting']}")
        elif _near(ax, points):
            _name(ax, points.sort_values("loss").iloc[0], f"{name}, {first['setting']} to {last['setting']}")
        else:
            _name(ax, first, f"{name}, {first['setting']}")
            _name(ax, last, last["setting"])


def _near(ax: Axes, points: pd.DataFrame) -> bool:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    wide, high = np.ptp(points["loss"]) / (right - left), np.ptp(points["risk"]) / (top - bottom)
    return bool(wide < _NEAR and high < _NEAR)


def _name(ax: Axes, point: pd.Series[Any], text: str) -> None:
    """Beside its point, on the side where there is room."""
    method, middle = str(point["method"]), sum(ax.get_xlim()) / 2
    offset = (4 if point["loss"] < middle else -4, -6 if method in _BELOW else 6)
    ax.annotate(
        text, (point["loss"], point["risk"]), xytext=offset, textcoords="offset points", va="center",
        ha="left" if point["loss"] < middle else "right", color=look(method).color,
    )  # fmt: skip
