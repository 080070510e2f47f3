"""The saturation bench runs whole, in its own process, on few rows."""

from benchmarks.harness import in_one_thread
from microflow.anonymize.contract import Method


def test_every_method_is_measured_beside_plain_polars() -> None:
    """A rate, a ratio with its interval, and what the ratio says of the core that the goal is for."""
    lines = {line.name: line for line in in_one_thread("benchmarks.pipelines", 3_000)}
    for method in Method:
        line = lines[f"batch, {method}"]
        assert line.value > 0
        assert line.ratio is not None
        assert line.low is not None
        assert line.high is not None
        assert line.low <= line.ratio <= line.high
        assert lines[f"batch, {method}, where plain Polars does 3.5 M/s"].value == line.ratio * 3.5e6
