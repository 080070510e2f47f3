"""Where the time goes: pre-processing, pure processing, post-processing, and what no phase claims."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, canvas

__all__ = ["PHASES", "draw"]

Floats = npt.NDArray[np.float64]
#: Column to name, fill and hatch.
PHASES = {
    "pre_s": ("pre", "#c9c9c9", ""),
    "pure_s": ("pure", "#0072B2", ""),
    "post_s": ("post", "#ffffff", "////"),
    "residual_s": ("residual", "#111111", ""),
}
_ROOM_FOR_NAME = 0.09


def draw(frame: pd.DataFrame) -> Figure:
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
        ax.annotate(
            f"residual {share:.1%}", (1, row), xytext=(4, 0), textcoords="offset points", va="center",
            annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(range(len(frame)), frame["arm"])
    ax.set_ylim(len(frame) - 0.5, -0.75)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlim(0, 1.0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("Share of wall time")
    return figure


def _mark_unshown(ax: Axes, shares: Floats, starts: Floats, shown: npt.NDArray[np.bool_]) -> None:
    """Hatch the pure phase of arms whose trials do not show that it was pure."""
    rows = np.flatnonzero(~shown)
    ax.barh(rows, shares[rows, 1], left=starts[rows, 1], height=0.62, fill=False, hatch="xxxx", edgecolor="white",
            linewidth=0)  # fmt: skip
