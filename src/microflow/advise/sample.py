"""A random sample of a file, stratified by its first sensitive column, and nested subsamples of it (rungs)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from microflow.errors import InputError
from microflow.schema import DatasetSchema, Role

__all__ = ["MOST_ROWS", "FileSample", "sample_rows"]

#: Rows kept of a file: enough to extrapolate from, few enough to try a dozen settings on within a minute.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class FileSample:
    """Rows drawn without replacement; every prefix is itself a stratified random sample of the file.

    Attributes:
        schema: What the columns mean.
        rows: The sampled rows, in the schema's types.
        rows_in_file: How many usable rows the file holds.
    """

    schema: DatasetSchema
    rows: pa.RecordBatch
    rows_in_file: int

    @property
    def is_whole(self) -> bool:
        """Whether every usable row of the file is in the sample."""
        return bool(self.rows.num_rows == self.rows_in_file)

    def first(self, rows: int) -> pa.RecordBatch:
        """A sample of this many rows (all of them where there are fewer)."""
        return self.rows.slice(0, rows)

    def rungs(self, smallest: int = 2_000, factor: int = 4) -> list[int]:
        """Sample sizes to try settings on, ascending; the last is everything there is.

        >>> FileSample(DatasetSchema("d", (), "gdpr"), pa.record_batch({"n": list(range(40))}), 40).rungs(4)
        [4, 16, 40]
        """
        sizes = []
        size = smallest
        while size * 2 <= self.rows.num_rows:
            sizes.append(size)
            size *= factor
        return [*sizes, self.rows.num_rows]


def sample_rows(
    batches: Iterable[pa.RecordBatch], schema: DatasetSchema, *, most: int = MOST_ROWS, seed: int = 1
) -> FileSample:
    """Draw up to ``most`` rows in one pass: each row gets a random key, and the smallest keys stay (bottom-k sampling).

    Raises:
        InputError: there is no row to sample.
    """
    rng = np.random.default_rng(seed)
    kept: list[tuple[np.ndarray, pa.RecordBatch]] = []
    seen, threshold, held = 0, 1.0, 0
    for batch in batches:
        keys = rng.random(batch.num_rows)
        seen += batch.num_rows
        chosen = np.flatnonzero(keys < threshold)
        if not len(chosen):
            continue
        kept.append((keys[chosen], batch if len(chosen) == batch.num_rows else batch.take(pa.array(chosen))))
        held += len(chosen)
        if held > 2 * most:
            kept, threshold = _smallest(kept, most)
            held = most
    if not seen:
        raise InputError("there is no usable row to learn from", hint="`microflow run` says why rows are refused")
    ((keys, rows),) = _smallest(kept, most)[0]
    return FileSample(schema, rows.take(pa.array(_stratified(rows, keys, schema))), seen)


def _smallest(
    kept: list[tuple[np.ndarray, pa.RecordBatch]], most: int
) -> tuple[list[tuple[np.ndarray, pa.RecordBatch]], float]:
    """The rows with the smallest keys as one batch, and the largest key among them."""
    keys = np.concatenate([part for part, _ in kept])
    rows = pa.concat_batches([part for _, part in kept])
    if len(keys) <= most:
        return [(keys, rows)], 1.0
    places = np.sort(np.argpartition(keys, most)[:most])
    return [(keys[places], rows.take(pa.array(places)))], float(keys[places].max())


def _stratified(rows: pa.RecordBatch, keys: np.ndarray, schema: DatasetSchema) -> np.ndarray:
    """An order in which every prefix holds each value of the first sensitive column in proportion.

    Rows are ranked at random inside their stratum; a row's place is its rank as a part of its stratum.
    """
    sensitive = schema.with_role(Role.SENSITIVE)
    if not sensitive:
        return np.argsort(keys, kind="stable")
    codes = rows.column(sensitive[0].name).dictionary_encode(null_encoding="encode").indices.to_numpy()
    order = np.lexsort((keys, codes))
    sizes = np.bincount(codes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(keys))
    place[order] = (np.arange(len(keys)) - starts + 0.5) / np.repeat(sizes, sizes)
    return np.lexsort((keys, place))
