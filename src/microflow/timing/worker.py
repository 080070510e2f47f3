"""The other side of `microflow.timing.launch`: one call in a fresh process, JSON in, JSON out.

The answer travels on what was standard output; standard output itself is turned to standard error first, so that
nothing a library (or a JVM) prints can spoil the answer.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

import numpy as np

from microflow.errors import MicroflowError, SetupError
from microflow.timing.machine import Machine
from microflow.timing.resources import ResourceMeter

__all__ = ["main"]


def main() -> None:
    """Answer the request on standard input."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    answer = _answer(json.load(sys.stdin))
    with os.fdopen(answer_to, "w", encoding="utf-8") as stream:
        json.dump(answer, stream, default=_plain)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    module, _, name = request["target"].partition(":")
    try:
        target = getattr(import_module(module), name)
        machine, load_before = Machine.here(), os.getloadavg()[0]
        meter = ResourceMeter()
        result = target(request["config"])
    except MicroflowError as error:
        return {"error": {"message": error.message, "hint": error.hint, "setup": isinstance(error, SetupError)}}
    return {
        "result": result,
        "machine": asdict(machine),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "usage": asdict(meter.usage()),
    }


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON knows them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a trial returned a {type(value).__name__}, which is not JSON")


if __name__ == "__main__":
    main()
