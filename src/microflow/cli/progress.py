"""A progress bar on a terminal, and silence in a pipe."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(total: int | None, what: str) -> tqdm[Any]:
    """Counts rows on standard error; draws nothing where that is not a terminal. Use as a context manager."""
    return tqdm(total=total, desc=what, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None)
