"""What fuzzing found, and what was wrong: each input is tried by the test suite ever after."""

from __future__ import annotations

from typing import Any

__all__ = ["FOUND"]

#: Target, what went wrong, and the input that showed it.
FOUND: dict[str, dict[str, Any]] = {
    "labels": {"a label of nested sets ends in a RecursionError": ["{" * 5_000]},
}
