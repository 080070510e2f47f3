"""Throughput of the pure phase, arm by arm, with intervals and the noise floor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import GREY, PAGE_IN, canvas, look, plain_log, tick_between, titled
from microflow.lab.report import short

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """One panel a data type, one dot with its interval an arm; the band is what an A/A comparison cannot tell apart.

    An arm of one block has no interval (nan), and one that not every data type has leaves a gap.

    Columns: ``data_type``, ``arm``, ``look``, ``rate``, ``low``, ``high`` (records/s), ``noise_floor`` (a part, around
    the first arm's rate).
    """
    types = list(frame["data_type"].unique())
    arms = list(frame["arm"].unique())
    figure, axes = canvas(PAGE_IN, 0.55 + 0.21 * len(arms), ncols=len(types), sharey=True, sharex=True)
    for ax, data_type in zip(axes, types, strict=True):
        _panel(ax, frame[frame["data_type"] == data_type], arms)
        titled(ax, data_type)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].set_ylim(len(arms) - 0.5, -0.5)
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, arms: list[str]) -> None:
    plain_log(ax, "x")
    reference = frame.iloc[0]
    floor = 1 + reference["noise_floor"]
    ax.axvspan(reference["rate"] / floor, reference["rate"] * floor, color="#dddddd", linewidth=0)
    for row in frame.to_dict("records"):
        style, height = look(row["look"]), arms.index(row["arm"])
        ax.plot([row["low"], row["high"]], [height, height], color=style.color, solid_capstyle="butt", linewidth=1.6)
        ax.plot(row["rate"], height, style.marker, color=style.color)
        ax.annotate(
            short(row["rate"]),
            (np.fmax(row["high"], row["rate"]), height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
        )
    ax.grid(visible=True, axis="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("Pure processing on one core (records/s)")
    shown = frame[["low", "rate", "high"]].to_numpy(np.float64)
    low, high = np.nanmin(shown), np.nanmax(shown)
    span = np.log10(high / low)
    left, right = ax.get_xlim()
    ax.set_xlim(min(left, low / 10 ** (0.05 * span)), max(right, high * 10 ** (0.16 * span)))
    tick_between(ax)
