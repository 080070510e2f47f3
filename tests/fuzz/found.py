"""What fuzzing found, and what was wrong: each input is tried by the test suite ever after."""

from __future__ import annotations

from typing import Any

__all__ = ["FOUND"]

#: Target, what went wrong, and the input that showed it.
FOUND: dict[str, dict[str, Any]] = {
    "a JSON array": {"one object over several lines was cut into splits": b"{" + b"\n" * 70 + b"{"},
    "a policy": {
        "a name too long for a file ends in an OSError": b"name: x\ntitle: x\ninclude: [" + b"a" * 5_000 + b"]"
    },
    "microflow.toml": {"nested lists end in a RecursionError": b"k = " + b"[" * 3_000},
    "labels": {"a label of nested sets ends in a RecursionError": ["{" * 5_000]},
}
