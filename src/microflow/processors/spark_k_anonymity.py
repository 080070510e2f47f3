"""k-anonymity of a Spark data frame whose quasi-identifiers are too many to count on the driver.

`SparkBatchProcessor` merges all workers' counts on the driver, which is exact and fits whenever the distinct tuples fit
there. Beyond that, distributed Mondrian: the top cuts are found in a sample, each row is routed by them to a region,
each region is partitioned by itself where it lies, and k is verified over the whole result by a group-by. No class
spans a top cut, which is all that is lost against the exact form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.contract import MethodSettings
from microflow.anonymize.k_anonymity import KAnonymity, released_schema
from microflow.errors import MicroflowError
from microflow.schema import DatasetSchema, Value

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["Cut", "Distributed", "anonymize_distributed", "regions_of", "top_cuts"]

_REGION = "__region__"
#: Rows of which the top cuts are found.
SAMPLE_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows whose ``column`` is at most ``value``, or missing, go to ``low``, the others to ``high``."""

    column: str
    value: Value
    low: Cut | int
    high: Cut | int


@dataclass(frozen=True, slots=True)
class Distributed:
    """A persisted frame of released rows, and what was counted over all of it."""

    frame: DataFrame
    released: int
    suppressed: int
    achieved_k: int
    regions: int


def anonymize_distributed(
    frame: DataFrame, settings: MethodSettings, schema: DatasetSchema, *, regions: int = 8, seed: int = 1
) -> Distributed:
    """Release the rows of a frame that has the schema's columns. A region must fit one worker's memory.

    Rows of a region with fewer than k rows are suppressed.

    Raises:
        MicroflowError: t-closeness was asked for, which needs everybody's distribution; or a class of fewer than k
            rows was found, and the result is dropped.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    if settings.t_closeness < 1:
        raise MicroflowError(
            "a region does not know everybody's distribution", hint="use the exact form for t-closeness"
        )
    seen = frame.count()
    names = [column.name for column in schema.quasi_identifiers]
    share = min(1.0, SAMPLE_ROWS / max(1, seen))
    tree = top_cuts(frame.select(*names).sample(fraction=share, seed=seed).toPandas(), regions)
    output = released_schema(schema)
    routed_schema = schema.arrow.append(pa.field(_REGION, pa.int64()))
    routed = frame.select(*schema.names).mapInArrow(_router(tree), from_arrow_schema(routed_schema))
    work = _region_worker(settings, schema)
    apart = routed.repartition(_count(tree), _REGION)
    released = apart.groupBy(_REGION).applyInArrow(work, from_arrow_schema(output)).persist()
    classes = released.groupBy(*names).count()
    found = classes.agg(f.min("count").alias("k"), f.sum("count").alias("rows")).first()
    k, rows = (int(found["k"] or 0), int(found["rows"] or 0)) if found else (0, 0)
    if rows and k < settings.k:
        released.unpersist()
        raise MicroflowError(f"a class of {k} rows was formed where {settings.k} were asked for; nothing is released")
    return Distributed(released, rows, seen - rows, k, _count(tree))


def top_cuts(sample: pd.DataFrame, regions: int) -> Cut | int:
    """A tree of median cuts, always of the region and column with most to cut, with at most so many regions."""
    codes, values = [], []
    for name in sample.columns:
        places, uniques = pd.factorize(sample[name], sort=True)
        codes.append(places)
        values.append(uniques.tolist())
    ranks = np.stack(codes, axis=1) if codes else np.empty((0, 0), np.int64)
    depth = int(np.log2(max(1, regions)))
    numbers = iter(range(1 << depth))

    def grow(members: npt.NDArray[np.int64], left: int) -> Cut | int:
        cut = _median_cut(ranks[members], [len(v) for v in values]) if left else None
        if cut is None:
            return next(numbers)
        column, place = cut
        below = ranks[members, column] <= place
        low, high = grow(members[below], left - 1), grow(members[~below], left - 1)
        return Cut(str(sample.columns[column]), values[column][place], low, high)

    return grow(np.arange(len(sample)), depth)


def _median_cut(ranks: npt.NDArray[np.int64], sizes: Sequence[int]) -> tuple[int, int] | None:
    """The column with the widest share of its ranks and the rank at its median, where a cut has rows on both sides."""
    if not len(ranks):
        return None
    spans = (ranks.max(axis=0) - ranks.min(axis=0)) / np.maximum(sizes, 1)
    for column in np.argsort(-spans, kind="stable").tolist():
        own = ranks[:, column]
        place = int(np.sort(own)[(len(own) - 1) // 2])
        place = place if place < own.max() else int(max(own[own < place], default=-1))
        if place >= 0:
            return column, place
    return None


def regions_of(tree: Cut | int, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The region of each row."""
    if isinstance(tree, int):
        return np.full(rows.num_rows, tree, np.int64)
    column = rows.column(tree.column)
    below = pc.fill_null(pc.less_equal(column, pa.scalar(tree.value, column.type)), fill_value=True)
    return np.where(below.to_numpy(zero_copy_only=False), regions_of(tree.low, rows), regions_of(tree.high, rows))


def _count(tree: Cut | int) -> int:
    return 1 if isinstance(tree, int) else _count(tree.low) + _count(tree.high)


def _router(tree: Cut | int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def route(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in batches:
            yield rows.append_column(_REGION, pa.array(regions_of(tree, rows)))

    return route


def _region_worker(settings: MethodSettings, schema: DatasetSchema) -> Callable[[pa.Table], pa.Table]:
    def work(region: pa.Table) -> pa.Table:
        batches = region.select(list(schema.names)).cast(schema.arrow).to_batches()
        anonymizer = KAnonymity(settings, schema)
        for rows in batches:
            anonymizer.observe(rows)
        anonymizer.freeze()
        released = (anonymizer.anonymize(rows).rows for rows in batches)
        return pa.Table.from_batches(released, schema=anonymizer.output_schema)

    return work
