"""The figures of methods: what they risk, lose and take; each takes the frame that its experiment returns."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from microflow.figures.style import COLUMN_IN, GREY, INK, beside, canvas, look, plain_log, tick_between, titled

__all__ = ["NAMES", "draw_effort", "draw_frontier"]

NAMES = {
    "identity": "no method",
    "k_anonymity": "k-anonymity",
    "k_anonymity_stream": "CASTLE",
    "k_anonymity_hybrid": "in microflows",
    "differential_privacy": "local DP",
    "tokenization": "tokenization",
}
#: Parts of an axis within which two names would touch.
_NEAR = 0.25
#: So many points of print away, a name is no longer beside its point, and a thin line leads there.
_BESIDE = 8
#: Where a name may stand beside its point, in points, best first.
_PLACES = (
    (4, 6), (4, -6), (0, 10), (0, -10), (-4, 6), (-4, -6), (0, 17), (4, 15), (4, -15), (-4, 15), (-4, -15), (10, 24),
    (-10, 24), (10, -24), (14, 0), (24, 10), (24, 22), (24, 34), (40, 14), (40, 28), (60, 10),
)  # fmt: skip


def draw_frontier(frame: pd.DataFrame) -> Figure:
    """Each setting a point with intervals, steps of one parameter joined; lower left is what one wants.

    Columns: ``method``, ``setting`` (its label), ``risk``, ``risk_low``, ``risk_high`` (linkage attack, 0 to 1, control
    subtracted), ``loss``, ``loss_low``, ``loss_high`` (information loss, 0 to 1).
    """
    figure, (ax,) = canvas(COLUMN_IN, 2.7)
    for method, points in frame.groupby("method", sort=False):
        _method(ax, str(method), points)
    ax.grid(visible=True)
    ax.set_xlabel("Information loss (0 none, 1 all)")
    ax.set_ylabel("Linkage attack: success above control")
    # Both are shares of a whole: the same scale in every profile.
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-0.09, 1.04)
    figure.draw_without_rendering()
    _labels(ax, frame)
    return figure


def _method(ax: Axes, method: str, points: pd.DataFrame) -> None:
    style, joined = look(method), points[_is_joined(points)]
    ax.plot(joined["loss"], joined["risk"], color=style.color, linestyle=style.line, linewidth=0.7)
    ax.vlines(points["loss"], points["risk_low"], points["risk_high"], color=style.color, linewidth=0.8)
    ax.hlines(points["risk"], points["loss_low"], points["loss_high"], color=style.color, linewidth=0.8)
    ax.plot(points["loss"], points["risk"], style.marker, color=style.color, markerfacecolor="white")


def _is_joined(points: pd.DataFrame) -> pd.Series[bool]:
    """Settings of one parameter are steps of a curve; one with a second parameter (k and l) stands by itself."""
    return ~points["setting"].str.contains(",", regex=False)


def _labels(ax: Axes, frame: pd.DataFrame) -> None:
    """The first and the last setting of each curve are named, and every setting that stands by itself.

    Where the two lie so near each other that their names would touch, one name speaks for all. A name stands where it
    covers no point, no curve and no other name.
    """
    taken: list[Bbox] = []
    groups = [(str(method), points) for method, points in frame.groupby("method", sort=False)]
    for _, points in groups:
        at = ax.transData.transform(points[["loss", "risk"]].to_numpy(np.float64))
        taken += [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in at]
        curve = at[_is_joined(points).to_numpy()]
        for begin, end in pairwise(curve):
            taken += _along(begin, end)
    for method, points in groups:
        name, joined = NAMES.get(method, method), points[_is_joined(points)]
        first, last = joined.iloc[0], joined.iloc[-1]
        named = ", ".join(filter(None, (name, first["setting"])))
        if len(joined) == 1:
            _name_point(ax, first, named, taken)
        elif _near(ax, joined):
            _name_point(ax, joined.sort_values("loss").iloc[0], f"{named} to {last['setting']}", taken)
        else:
            _name_point(ax, first, named, taken)
            _name_point(ax, last, last["setting"], taken)
    for _, point in frame[~_is_joined(frame)].iterrows():
        _name_point(ax, point, point["setting"], taken)


def _near(ax: Axes, points: pd.DataFrame) -> bool:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    wide, high = np.ptp(points["loss"]) / (right - left), np.ptp(points["risk"]) / (top - bottom)
    return bool(wide < _NEAR and high < _NEAR)


def _name_point(ax: Axes, point: pd.Series[Any], text: str, taken: list[Bbox]) -> None:
    """Write a name beside a point: where it covers nothing and stays inside, else where it covers least.

    Args:
        ax: Where it stands.
        point: ``loss`` and ``risk`` are its place in the data's units.
        text: The name.
        taken: Boxes in pixels that are to be spared; the name's own is added.
    """
    best: tuple[float, Annotation, Bbox] | None = None
    for x, y in _PLACES:
        side = "left" if x > 0 else "right" if x < 0 else "center"
        label = beside(ax, text, (point["loss"], point["risk"]), (x, y), ha=side, color=INK)
        box = label.get_window_extent()
        covered = sum(_area(box, other) for other in taken) + box.width * box.height - _area(box, ax.bbox)
        if best is None or covered < best[0]:
            if best is not None:
                best[1].remove()
            best = covered, label, box
        else:
            label.remove()
    assert best is not None
    _, _, box = best
    taken.append(box)
    place = ax.transData.transform((point["loss"], point["risk"]))
    near = np.clip(place, box.min, box.max)
    if np.hypot(*(place - near)) > _BESIDE * ax.figure.dpi / 72:
        taken += _along(place, near)
        ax.plot(*ax.transData.inverted().transform([place, near]).T, color=GREY, linewidth=0.4, zorder=1)


def _along(begin: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> list[Bbox]:
    """Small boxes along a line, in pixels."""
    steps = np.linspace(begin, end, 2 + int(np.hypot(*(end - begin)) / 4))
    return [Bbox.from_bounds(x - 2, y - 2, 4, 4) for x, y in steps]


def _area(box: Bbox, other: BboxBase) -> float:
    """Area that two boxes share, in pixels."""
    shared = Bbox.intersection(box, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


def draw_effort(frame: pd.DataFrame) -> Figure:
    """One panel a number of quasi-identifiers: loss by time, a mark an effort; a cross is ARX.

    Columns: ``columns``, ``k``, ``effort``, ``seconds``, ``loss``, ``arx_loss``, ``arx_seconds`` (nan where ARX was not
    timed: such a k is not drawn).
    """
    timed = frame[frame["arx_seconds"].notna()]
    sizes = list(timed["columns"].unique())
    figure, axes = canvas(COLUMN_IN, 1.9, ncols=len(sizes))
    for ax, size in zip(axes, sizes, strict=True):
        own, style = timed[timed["columns"] == size].sort_values("seconds"), look("k_anonymity")
        ax.plot(own["seconds"], own["loss"], color=style.color, linestyle=style.line, marker=style.marker)
        for row in own.to_dict("records"):
            beside(ax, str(row["effort"]), (row["seconds"], row["loss"]), (0, -12), ha="center", va="baseline")
        first = own.iloc[0]
        ax.plot(first["arx_seconds"], first["arx_loss"], "x", color="#111111")
        beside(ax, "ARX", (first["arx_seconds"], first["arx_loss"]), (0, 5), ha="center", va="baseline")
        plain_log(ax, "x")
        reach = [*own["seconds"], first["arx_seconds"]]
        ax.set_xlim(min(reach) / 1.6, max(reach) * 1.6)
        ax.set_ylim(0, 1.25 * max(own["loss"].max(), first["arx_loss"]))
        tick_between(ax)
        ax.grid(visible=True)
        ax.set_xlabel("Processor time (s)")
        titled(ax, f"{size} quasi-identifiers")
    axes[0].set_ylabel("Information loss (GCP)")
    return figure
