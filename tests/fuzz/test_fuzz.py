"""Every target for a moment, on the same inputs each time; ``make fuzz`` goes on for an hour, each time on others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.found import FOUND
from fuzz.targets import TARGETS, try_one

#: Inputs of a target; those that take longer each have fewer.
_EXAMPLES = {"a job": 5, "a spreadsheet": 5, "messages": 20, "free text": 20}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_it(name: str) -> None:
    """The package's own errors only, every row accounted for, in linear time, and no value quoted."""
    target = TARGETS[name]

    @settings(max_examples=_EXAMPLES.get(name, 30), database=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def check(one: Any) -> None:
        try_one(target, one)

    check()


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, found in FOUND.items() for what in found])
def test_what_was_found_once_stays_mended(name: str, what: str) -> None:
    """The inputs that broke something, shortest form."""
    try_one(TARGETS[name], FOUND[name][what])
