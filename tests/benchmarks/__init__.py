"""Every speed we claim, measured beside its reference in one run: one module a suite, on one harness."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.harness import Line

__all__ = ["SUITES", "measured"]

#: Each is a module of this package with ``run(rows: int | None) -> list[Line]``; peers puts three of them together.
SUITES = ("compliance", "anonymize", "k_anonymity", "timing", "pipelines", "live", "store", "whole", "peers")
_PEERS = ("compliance", "anonymize", "store")


def measured(suite: str, rows: int | None) -> list[Line]:
    """The lines of a suite; ``peers``: those of three suites that have a reference."""
    if suite == "peers":
        return [line for name in _PEERS for line in measured(name, rows) if line.reference is not None]
    lines: list[Line] = import_module(f"{__name__}.{suite}").run(rows)
    return lines
