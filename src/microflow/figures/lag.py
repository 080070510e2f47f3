"""How far a group of stream processes was behind its topic, while processes and the broker died."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.figure import Figure

from microflow.figures.style import COLUMN_IN, GREY, canvas, look

__all__ = ["draw"]


def draw(samples: Sequence[tuple[float, int, int]], events: Sequence[tuple[float, str]]) -> Figure:
    """Two panels on one time axis: messages that wait, and messages committed a second.

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
