"""The figures of pipelines and jobs: one function a figure; each takes the frame that its experiment returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import (
    COLUMN_IN,
    GREY,
    PAGE_IN,
    beside,
    canvas,
    label_lines,
    look,
    one_line_each,
    plain_log,
    tick_between,
    titled,
)
from microflow.lab.report import UNKNOWN, ratio_text, short
from microflow.lab.statistics import Estimate

__all__ = [
    "PHASES", "draw_accuracy", "draw_burst", "draw_contamination", "draw_lag", "draw_latency", "draw_phases",
    "draw_scaling", "draw_throughput",
]  # fmt: skip


Floats = npt.NDArray[np.float64]
#: Column to name, fill and hatch.
PHASES = {
    "pre_s": ("pre", "#c9c9c9", ""),
    "pure_s": ("pure", "#0072B2", ""),
    "post_s": ("post", "#ffffff", "////"),
    "residual_s": ("residual", "#111111", ""),
}
_ROOM_FOR_NAME = 0.09
#: Kind of work to its shift around the line, and to the arm whose look and which name it has.
_WORKS = {"microflows": (-0.15, "batch", "in microflows"), "records": (0.15, "stream", "record by record")}
#: Measure to its shift around a rule's line, colour, fill and marker.
_MEASURES = {"recall": (-0.16, "#0072B2", "#0072B2", "o"), "precision": (0.16, "#111111", "white", "s")}


def draw_throughput(frame: pd.DataFrame) -> Figure:
    """One panel a data type, one dot with its interval an arm; the band is what an A/A comparison cannot tell apart.

    An arm of one block has no interval (nan), and one that not every data type has leaves a gap.

    Columns: ``data_type``, ``arm``, ``look``, ``rate``, ``low``, ``high`` (records/s), ``noise_floor`` (a part, around
    the first arm's rate).
    """
    types = list(frame["data_type"].unique())
    arms = list(frame["arm"].unique())
    figure, axes = canvas(PAGE_IN, 0.55 + 0.21 * len(arms), ncols=len(types), sharey=True, sharex=True)
    for ax, data_type in zip(axes, types, strict=True):
        _throughput_panel(ax, frame[frame["data_type"] == data_type], arms)
        titled(ax, data_type)
    return figure


def _throughput_panel(ax: Axes, frame: pd.DataFrame, arms: list[str]) -> None:
    plain_log(ax, "x")
    reference = frame.iloc[0]
    floor = 1 + reference["noise_floor"]
    ax.axvspan(reference["rate"] / floor, reference["rate"] * floor, color="#dddddd", linewidth=0)
    for row in frame.to_dict("records"):
        style, height = look(row["look"]), arms.index(row["arm"])
        ax.plot([row["low"], row["high"]], [height, height], color=style.color, solid_capstyle="butt", linewidth=1.6)
        ax.plot(row["rate"], height, style.marker, color=style.color)
        beside(ax, short(row["rate"]), (np.fmax(row["high"], row["rate"]), height), (5, 0), color=GREY)
    ax.grid(visible=True, axis="x")
    one_line_each(ax, arms)
    ax.set_xlabel("Pure processing on one core (records/s)")
    shown = frame[["low", "rate", "high"]].to_numpy(np.float64)
    low, high = np.nanmin(shown), np.nanmax(shown)
    span = np.log10(high / low)
    left, right = ax.get_xlim()
    ax.set_xlim(min(left, low / 10 ** (0.05 * span)), max(right, high * 10 ** (0.16 * span)))
    tick_between(ax)


def draw_latency(frame: pd.DataFrame) -> Figure:
    """One panel a data type; p99 with its range over blocks, and p50 as a thin line.

    Columns: ``data_type``, ``arm``, ``load`` (records/s), ``p50_ms``, ``p99_ms``, ``p99_low_ms``, ``p99_high_ms``,
    ``sustained`` (bool; open marks where the backlog grew).
    """
    types = list(frame["data_type"].unique())
    figure, axes = canvas(COLUMN_IN if len(types) == 1 else PAGE_IN, 2.5, ncols=len(types), sharey=True)
    for ax, data_type in zip(axes, types, strict=True):
        _latency_panel(ax, frame[frame["data_type"] == data_type])
        titled(ax, data_type)
    axes[0].set_ylabel("Latency from intended arrival (ms)")
    figure.draw_without_rendering()
    for ax, data_type in zip(axes, types, strict=True):
        last = frame[frame["data_type"] == data_type].sort_values("load").groupby("arm", sort=False).tail(1)
        label_lines(ax, [(row["load"], row["p99_ms"], str(row["arm"])) for row in last.to_dict("records")])
    return figure


def _latency_panel(ax: Axes, frame: pd.DataFrame) -> None:
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


def draw_burst(frame: pd.DataFrame) -> Figure:
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


def draw_phases(frame: pd.DataFrame) -> Figure:
    """Shares of wall time, one bar an arm.

    Columns: ``arm`` and, in seconds, ``pre_s``, ``pure_s``, ``post_s``, ``residual_s``; ``shown`` where it is known
    whether the pure phase is shown to be pure: it is hatched where it is not.
    """
    seconds = frame[list(PHASES)]
    shares = seconds.div(seconds.sum(axis=1), axis=0).to_numpy()
    figure, (ax,) = canvas(COLUMN_IN, 0.6 + 0.24 * len(frame))
    starts = shares.cumsum(axis=1) - shares
    for index, (name, color, hatch) in enumerate(PHASES.values()):
        ax.barh(
            range(len(frame)), shares[:, index], left=starts[:, index], height=0.62,
            color=color, hatch=hatch, edgecolor="#111111", linewidth=0.4,
        )  # fmt: skip
        if name == "pure" and "shown" in frame:
            _mark_unshown(ax, shares, starts, frame["shown"].to_numpy(np.bool_))
        if name != "residual":
            ax.annotate(
                name, (starts[0, index] + shares[0, index] / 2, -0.42), va="bottom", ha="center", annotation_clip=False
            )
    for row, share in enumerate(shares[:, 1]):
        if share > _ROOM_FOR_NAME:
            ax.text(starts[row, 1] + share / 2, row, f"{share:.0%}", color="white", ha="center", va="center")
    for row, share in enumerate(shares[:, 3]):
        beside(ax, f"residual {share:.1%}", (1, row), (4, 0), annotation_clip=False)
    one_line_each(ax, list(frame["arm"]), above=0.75)
    ax.set_xlim(0, 1.0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("Share of wall time")
    return figure


def _mark_unshown(ax: Axes, shares: Floats, starts: Floats, shown: npt.NDArray[np.bool_]) -> None:
    """Hatch the pure phase of arms whose trials do not show that it was pure."""
    rows = np.flatnonzero(~shown)
    ax.barh(rows, shares[rows, 1], left=starts[rows, 1], height=0.62, fill=False, hatch="xxxx", edgecolor="white",
            linewidth=0)  # fmt: skip


def draw_contamination(frame: pd.DataFrame) -> Figure:
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
    for work, (shift, arm, name) in _WORKS.items():
        rows, style = frame[frame["work"] == work], look(arm)
        heights = [arms.index(arm) + shift for arm in rows["arm"]]
        ax.hlines(heights, rows["low"], rows["high"], color=style.color, linewidth=1.4)
        ax.plot(rows["ratio"], heights, style.marker, color=style.color, label=name)
        for height, row in zip(heights, rows.to_dict("records"), strict=True):
            beside(ax, _times(row), (row["high"], height), (4, 0), color=style.color)
    one_line_each(ax, arms)
    ax.grid(visible=True, axis="x")
    ax.set_xlim(min(0.8, 0.9 * frame["low"].min(), 0.9 / floor), max(frame["high"].max(), floor) * 4)
    ax.set_xlabel("Measured time, multiple of the clean one")
    figure.legend(loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1)
    return figure


def _times(row: Mapping[Any, Any]) -> str:
    """The ratio; none where its interval says next to nothing."""
    ratio: float = row["ratio"]
    if ratio_text(Estimate(ratio, row["low"], row["high"])) == UNKNOWN:
        return UNKNOWN
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"  # noqa: PLR2004 - two digits are enough from there on


def draw_accuracy(frame: pd.DataFrame) -> Figure:
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
        _accuracy_panel(ax, own, tallest)
        ax.set_xlim(low - 0.08 * (1 - low), 1 + 0.05 * (1 - low))
        titled(ax, data_type, ", ".join(own["regulation"].unique()))
    figure.supxlabel("Share (1 is faultless)", fontsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1)
    return figure


def _accuracy_panel(ax: Axes, frame: pd.DataFrame, tallest: int) -> None:
    for measure, (shift, color, fill, marker) in _MEASURES.items():
        heights = [row + shift for row in range(len(frame))]
        ax.hlines(heights, frame[f"{measure}_low"], frame[f"{measure}_high"], color=color, linewidth=0.8)
        ax.plot(frame[measure], heights, marker, color=color, markerfacecolor=fill, markersize=2.6, label=measure)
    # A regulation that the title alone names need not be said on every line.
    is_single = len(frame["regulation"].unique()) == 1
    names = [rule.partition("-")[2] if is_single else rule for rule in frame["rule"]]
    one_line_each(ax, names, above=0.6, below=tallest - len(frame) + 0.6)
    ax.grid(visible=True)
    ax.locator_params(axis="x", nbins=3)


def draw_scaling(frame: pd.DataFrame) -> Figure:
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


def draw_lag(samples: Sequence[tuple[float, int, int]], events: Sequence[tuple[float, str]]) -> Figure:
    """Figure of a group of processes behind its topic: waiting messages, and messages committed per second.

    Args:
        samples: Seconds, messages in the topic, and messages committed, at irregular times.
        events: Seconds and a word for what happened then.
    """
    figure, (top, bottom) = canvas(COLUMN_IN, 2.6, nrows=2, sharex=True)
    times = [at for at, *_ in samples]
    top.plot(times, [fed - done for _, fed, done in samples], color=look("hybrid").color, linewidth=0.9)
    top.set_title("Messages that wait")
    rates = [(after[2] - before[2]) / (after[0] - before[0]) for before, after in pairwise(samples)]
    bottom.plot(times[1:], rates, color=look("batch").color, drawstyle="steps-pre", linewidth=0.8)
    bottom.set_title("Committed (messages/s)")
    bottom.set_xlabel("Time (s)")
    for panel in (top, bottom):
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
        for at, _ in events:
            panel.axvline(at, color=GREY, linewidth=0.6, linestyle=":")
    for row, (at, word) in enumerate(events):
        # One below the other: they may happen soon after each other.
        place = (2, -8 - 9 * row)
        top.annotate(word, (at, 1), xycoords=("data", "axes fraction"), xytext=place, textcoords="offset points")
    return figure
