"""``microflow bench peers``: everything that is measured beside what people would use instead, in one table."""

from __future__ import annotations

from microflow.bench import anonymize, compliance, store
from microflow.bench.harness import Line

__all__ = ["run"]


def run(rows: int | None) -> list[Line]:
    """The lines of three suites that have a reference; peers that are not installed are left out."""
    return [line for suite in (compliance, anonymize, store) for line in suite.run(rows) if line.reference is not None]
