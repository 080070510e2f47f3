"""The data of a trial, and the checksum that says which data they were: stored with every trial."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from microflow.datasets import generate
from microflow.microflows import Microflow, microflows

__all__ = ["DataChecksum", "data_checksum", "source"]


def source(config: Mapping[str, Any], rows: int) -> Iterator[Microflow]:
    """The first ``rows`` rows of a configuration's ``data_type``; its ``seed`` decides them."""
    return microflows(batch.rows for batch in generate(config["data_type"], rows, config["seed"]))


class DataChecksum:
    """SHA-256 over every value of the microflows that are added or pass through, column by column."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, rows: pa.RecordBatch) -> None:
        """The rows of one microflow; in other pieces the same rows have another checksum."""
        for column in rows.columns:
            self._digest.update(pl.Series(column).hash(seed=1).to_numpy().tobytes())

    def passing(self, flows: Iterable[Microflow]) -> Iterator[Microflow]:
        """The microflows as they are, each added as it is taken."""
        for flow in flows:
            self.add(flow.rows)
            yield flow

    def hexdigest(self) -> str:
        """The checksum of what has been added."""
        return self._digest.hexdigest()


def data_checksum(flows: Iterable[Microflow]) -> str:
    """The checksum of all of them."""
    checksum = DataChecksum()
    for _ in checksum.passing(flows):
        pass
    return checksum.hexdigest()
