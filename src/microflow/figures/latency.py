"""Latency against offered load: what each pipeline promises before it breaks down."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, PAGE_IN, canvas, label_lines, look, plain_log, titled

__all__ = ["draw"]


def draw(frame: pd.DataFrame) -> Figure:
    """One panel a data type; p99 with its range over blocks, and p50 as a thin line.

    Columns: ``data_type``, ``arm``, ``load`` (records/s), ``p50_ms``, ``p99_ms``, ``p99_low_ms``, ``p99_high_ms``,
    ``sustained`` (bool; open marks where the backlog grew).
    """
    types = list(frame["data_type"].unique())
    figure, axes = canvas(COLUMN_IN if len(types) == 1 else PAGE_IN, 2.5, ncols=len(types), sharey=True)
    for ax, data_type in zip(axes, types, strict=True):
        _panel(ax, frame[frame["data_type"] == data_type])
        titled(ax, data_type)
    axes[0].set_ylabel("Latency from intended arrival (ms)")
    figure.draw_without_rendering()
    for ax, data_type in zip(axes, types, strict=True):
        label_lines(ax, _ends(frame[frame["data_type"] == data_type]))
    return figure


def _panel(ax: Axes, frame: pd.DataFrame) -> None:
    for arm, curve in frame.sort_values("load").groupby("arm", sort=False):
        style = look(str(arm))
        ax.plot(curve["load"], curve["p50_ms"], color=style.color, linestyle=style.line, linewidth=0.5)
        ax.plot(curve["load"], curve["p99_ms"], color=style.color, linestyle=style.line)
        ax.vlines(curve["load"], curve["p99_low_ms"], curve["p99_high_ms"], color=style.color, linewidth=0.8)
        for sustained, part in curve.groupby("sustained"):
            fill = style.color if sustained else "white"
            ax.plot(part["load"], part["p99_ms"], style.marker, color=style.color, markerfacecolor=fill)
    plain_log(ax, "x")
    plain_log(ax, "y")
    ax.grid(visible=True, axis="y")
    ax.set_xlabel("Offered load (records/s)")
    low, high = frame["load"].min(), frame["load"].max()
    ax.set_xlim(low / 1.15, high * (high / low) ** 0.22)


def _ends(frame: pd.DataFrame) -> list[tuple[float, float, str]]:
    last = frame.sort_values("load").groupby("arm", sort=False).tail(1)
    return [(row["load"], row["p99_ms"], str(row["arm"])) for row in last.to_dict("records")]
