"""What is fuzzed: a name, what it is given, and what must hold whatever that is.

Every target may raise the package's own errors and nothing else, in a time that is linear in what it was given; where
rows are read, none gets lost; and no message quotes a value.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.documents import DOCUMENTS
from fuzz.rows import ROWS

__all__ = ["TARGETS", "Target", "try_one"]

#: Processor time that an input may take: a start, and so much for each byte; ten times what it takes undisturbed.
_SECONDS, _SECONDS_A_BYTE = 2.0, 2e-5


@dataclass(frozen=True)
class Target:
    """``check`` gets a folder and an input, and raises what is wrong; ``inputs`` are its inputs."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Path, Any], None]
    unpacks: int = 1
    """What a byte of it may grow to."""


def try_one(target: Target, given: Any) -> None:
    """One input, in the time it may take."""
    os.environ["MICROFLOW_TOKEN_KEY"] = "5e" * 32
    with tempfile.TemporaryDirectory(prefix="microflow-fuzz-") as folder:
        started = time.process_time()
        target.check(Path(folder), given)
        took = time.process_time() - started
    size = len(given if isinstance(given, bytes | str) else repr(given))
    most = _SECONDS + _SECONDS_A_BYTE * size * target.unpacks
    assert took < most, f"{took:.1f} s of processor time, more than {most:.1f} s"


#: Inputs of which a byte may grow to many.
_UNPACKED = {"gzip": 500}
TARGETS: dict[str, Target] = {
    name: Target(inputs, check, _UNPACKED.get(name, 1)) for name, (inputs, check) in {**ROWS, **DOCUMENTS}.items()
}
