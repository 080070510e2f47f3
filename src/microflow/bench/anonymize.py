"""``microflow bench anonymize``: every method beside the systems people would use instead."""

from __future__ import annotations

from microflow.bench import k_anonymity, noise_and_tokens
from microflow.bench.harness import Line

__all__ = ["run"]


def run(rows: int | None) -> list[Line]:
    """Speeds and losses of all methods; ``rows`` is what the fastest of them process (1,000,000 by default)."""
    asked = rows or 1_000_000
    return [*k_anonymity.cases(asked), *noise_and_tokens.cases(asked)]
