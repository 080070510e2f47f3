"""Style of all figures: exact widths, one mark per arm, intervals drawn, labels beside what they name.

Colour is never the only difference: each arm also has its own marker and line style, and the colours (Okabe and Ito
2008) differ in lightness, so that a figure survives grey paper and colour-blind readers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context, rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from microflow.lab.report import short

__all__ = [
    "COLUMN_IN", "GREY", "INK", "PAGE_IN", "Look", "beside", "canvas", "ieee", "label_lines", "look", "mark_preview",
    "one_line_each", "plain_log", "png", "save", "spread", "tick_between", "titled",
]  # fmt: skip

#: Widths of one column and of a page of an IEEE paper, in inches.
COLUMN_IN, PAGE_IN = 3.5, 7.16
GREY = "#6e6e6e"
_PREVIEW_DPI = 160
_TWO_DECADES = 100


@dataclass(frozen=True, slots=True)
class Look:
    """Style of one arm in all figures."""

    color: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]


_LOOKS: dict[str, Look] = {
    "batch": Look("#0072B2", "o", "-"),
    "stream": Look("#D55E00", "s", (0, (4, 1.5))),
    "hybrid": Look("#111111", "D", "-"),
    "spark": Look("#CC79A7", "^", (0, (1, 1))),
    "storm": Look("#009E73", "P", (0, (3, 1, 1, 1))),
    "linger": Look("#56B4E9", "^", (0, (1, 1))),
    "natural": Look("#009E73", "P", (0, (3, 1, 1, 1))),
    "coin": Look("#CC79A7", "v", (0, (7, 1.5, 1.5, 1.5))),
    "identity": Look("#8a8a8a", "v", ":"),
    "k_anonymity": Look("#0072B2", "o", "-"),
    "k_anonymity_stream": Look("#009E73", "^", (0, (1, 1))),
    "k_anonymity_hybrid": Look("#56B4E9", "P", (0, (3, 1, 1, 1))),
    "batch, k-anonymity": Look("#56B4E9", "^", (0, (1, 1))),
    "batch, differential privacy": Look("#CC79A7", "v", (0, (3, 1, 1, 1))),
    "differential_privacy": Look("#D55E00", "s", (0, (4, 1.5))),
    "tokenization": Look("#111111", "D", ":"),
}
#: Names that are not simply capitalised.
_PROPER = {"iot": "IoT", "ecommerce": "E-commerce"}
_ANY = Look(GREY, "o", "-")
INK = "#222222"


def look(arm: str) -> Look:
    """The look of an arm; of an unknown one, grey circles."""
    return _LOOKS.get(arm, _ANY)


@contextmanager
def ieee() -> Iterator[None]:
    """Matplotlib's settings for print; nothing of the caller's own settings gets in."""
    with resources.as_file(resources.files(__package__) / "ieee.mplstyle") as path:
        settings = rc_params_from_file(path, use_default_template=True)
    with rc_context(settings):
        yield


def canvas(width: float, height: float, **grid: Any) -> tuple[Figure, npt.NDArray[np.object_]]:
    """A figure of an exact size in inches and its axes as a flat array; ``grid`` goes to ``Figure.subplots``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(squeeze=False, **grid)
    return figure, np.asarray(axes).ravel()


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write ``name.pdf`` and ``name.png``; equal figures give equal bytes, because no date or program is written."""
    folder.mkdir(parents=True, exist_ok=True)
    pdf, image = folder / f"{name}.pdf", folder / f"{name}.png"
    with ieee():
        figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        figure.savefig(image, metadata={"Software": None})
    return pdf, image


def png(figure: Figure) -> bytes:
    """A preview for a screen."""
    buffer = io.BytesIO()
    with ieee():
        figure.savefig(buffer, format="png", dpi=_PREVIEW_DPI, metadata={"Software": None})
    return buffer.getvalue()


def plain_log(ax: Axes, axis: str) -> None:
    """A logarithmic axis (``"x"`` or ``"y"``) whose ticks are read as numbers, not as powers."""
    ax.set(**{f"{axis}scale": "log"})
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    chosen.set_minor_formatter(NullFormatter())


def tick_between(ax: Axes) -> None:
    """Ticks at 1, 2 and 5 on a logarithmic x-axis of one or two decades, where those at 1 alone would be too few."""
    low, high = ax.get_xlim()
    if high / low < _TWO_DECADES:
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def one_line_each(ax: Axes, names: Sequence[str], *, above: float = 0.5, below: float = 0.5) -> None:
    """A vertical axis of names, the first on top, with so much room around them; no ticks, no spine."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 1 + below, -above)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def mark_preview(figure: Figure) -> None:
    """Write *preview* across a figure, pale: what it shows is not to be cited."""
    figure.text(0.5, 0.5, "preview", fontsize=30, color="#000000", alpha=0.08, rotation=25, ha="center", va="center")


def titled(ax: Axes, text: str, more: str = "") -> None:
    """A panel's name, upper left, and what else tells it from the others."""
    name = _PROPER.get(text, text[:1].upper() + text[1:])
    ax.set_title(f"{name}: {more}" if more else name)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions as near as can be to those wanted, in the same order, none closer than ``gap`` to its neighbour.

    >>> spread([1.0, 1.0, 5.0], gap=1.0)
    [0.5, 1.5, 5.0]
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(order))
    placed = np.empty(len(order))
    placed[order] = isotonic_regression(np.asarray(wanted, float)[order] - steps).x + steps
    return [float(position) for position in placed]


def beside(ax: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **options: Any) -> Annotation:
    """Write beside a point of the data, so many points of print away from it."""
    return ax.annotate(text, place, xytext=offset, textcoords="offset points", **{"va": "center", **options})


def label_lines(ax: Axes, ends: Sequence[tuple[float, float, str]], gap_points: float = 9.0) -> None:
    """Names of arms beside the right ends of their lines, moved apart where they would touch.

    ``ends`` are (x, y, arm) in data coordinates. In front of each name is a piece of its line, and the name is dark
    whatever the line's colour is: grey paper takes that away. Call it when limits and scales are final.
    """
    if not ends:
        return
    to_screen = ax.transData.transform
    places = [to_screen((x, y)) for x, y, _ in ends]
    points = 72.0 / ax.figure.dpi
    heights = spread([y for _, y in places], gap_points / points)
    for (right, _), height, (_, _, arm) in zip(places, heights, ends, strict=True):
        style = look(arm)
        piece = ax.transData.inverted().transform([(right + more / points, height) for more in (6.0, 20.0)])
        ax.plot(*piece.T, color=style.color, linestyle=style.line, linewidth=0.9, clip_on=False)
        beside(ax, arm, tuple(piece[1]), (3.0, 0.0), color=INK, annotation_clip=False)
