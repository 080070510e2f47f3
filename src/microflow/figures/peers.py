"""The README's table beside other tools: a block written from what a benchmark saved, so that no number is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microflow.figures.readme import marked
from microflow.lab.report import Table, hardware, ratio_text, short
from microflow.lab.statistics import Estimate

__all__ = ["peers_block"]


def peers_block(document: Mapping[str, Any]) -> str:
    """The block ``peers``, of a document that ``microflow bench peers --json`` has written: lines with a ratio."""
    rows = [
        [line["name"].strip(), f"{short(line['value'])} {line['unit']}", line["reference"], _ratio(line)]
        for line in document["lines"]
    ]
    origin = f"on {hardware(document['machine'])}; written by `make peers`"
    caption = f"Side by side in one process, ratios with 95 % intervals over rounds, {origin}."
    table = Table(["what", "here", "beside", "here / beside"], rows, caption, prose=True)
    return marked("peers", table.to_markdown())


def _ratio(line: Mapping[str, Any]) -> str:
    if line["low"] is None:
        return f"{short(line['ratio'])}×"  # nothing was timed: no interval to have
    return ratio_text(Estimate(float(line["ratio"]), float(line["low"]), float(line["high"])))
