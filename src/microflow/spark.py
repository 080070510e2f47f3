"""A Spark ``DataFrame`` in, a ``DataFrame`` out, for who reads and writes with Spark (Delta and Iceberg, for instance).

    from microflow.spark import anonymize

    safe = anonymize(spark.read.format("delta").load(source), schema="visits.yaml", method="k_anonymity", k=5)
    safe.write.format("delta").save(target)

Rows never pass the driver. Methods that treat each record by itself (tokenization, differential privacy) are one lazy
pass. k-anonymity over the data set counts in a first pass, which is run at once, merges the counts on the driver (their
size depends on the quasi-identifiers' distinct combinations, not on the rows), and looks every row's class up in a
second, lazy pass: the frame must hold the same rows both times, so ``persist()`` one whose source may change. The key
of tokens travels to the executors inside the tasks, as everything does that they must know.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, MethodSettings, Scope
from microflow.compliance import BatchChecker, load_policy
from microflow.compliance.policy import Policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec, scoped
from microflow.engine.kernel import BatchKernel, Screening
from microflow.errors import InputError, MicroflowError
from microflow.schema import DatasetSchema
from microflow.sources.columns import typed_column
from microflow.sources.parquet import typed_array

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["anonymize", "violations"]

_PLACE = "a Spark data frame"
_Batches = Iterator[pa.RecordBatch]
_VIOLATION = pa.schema(
    [
        *((name, pa.string()) for name in ("record_id", "rule", "field", "severity", "regulation", "article")),
        ("span_start", pa.int32()),
        ("span_end", pa.int32()),
    ]
)


def anonymize(
    frame: DataFrame,
    *,
    schema: DatasetSchema | str | Path,
    method: MethodSettings | str,
    policy: Policy | str | Path | None = None,
    key: bytes | None = None,
    **parameters: float | bool,
) -> DataFrame:
    """Check, remedy and anonymize every row of a frame.

    Args:
        frame: Has the schema's columns; others are refused by name.
        schema: What the columns mean: a shipped name, a path, or a schema.
        method: ``k_anonymity``, ``differential_privacy``, ``tokenization``, or settings.
        policy: The rules; by default the schema's.
        key: The key of tokens, at least as many bits as ``key_bits``.
        **parameters: Fields of `MethodSettings`, where ``method`` is a name: ``k``, ``epsilon``, ``key_bits`` …

    Returns:
        A lazy frame of the released rows: the same columns, some of another type (labels are text). Rows that may not
        be released are not in it.

    Raises:
        InputError: columns are missing, unknown, or hold something that the schema does not say. In a task a value
            that is not of its column's type ends the job: the frame is yours to repair, and no row is lost silently.
        MicroflowError: the method cannot work on a frame (k-anonymity by microflow or of a stream).
    """
    described = schema if isinstance(schema, DatasetSchema) else load_schema(schema)
    settings = method if isinstance(method, MethodSettings) else MethodSettings(Method(method), **parameters)  # type: ignore[arg-type]
    if settings.method is Method.TOKENIZATION and (key is None or len(key) * 8 < settings.key_bits):
        raise MicroflowError("tokenization needs a key", hint=f"give key= of at least {settings.key_bits // 8} bytes")
    rules = policy if isinstance(policy, Policy) else load_policy(policy or described.policy)
    spec = scoped(ProcessingSpec(described, rules, settings, key=key), "batch")
    selected = _selected(frame, described)
    anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
    if anonymizer.scope is Scope.RECORD:
        return selected.mapInArrow(_release(pickle.dumps(spec)), _spark_schema(anonymizer.output_schema))
    if anonymizer.scope is not Scope.DATASET:
        raise MicroflowError(f"k-anonymity by {anonymizer.scope} has no meaning on a frame", hint="leave scope out")
    frozen = cast("DatasetAnonymizer", anonymizer)
    counts = frozen.counts.schema
    packed = pickle.dumps(spec)
    for row in selected.mapInArrow(_count(packed), "counts binary").toLocalIterator():
        with pa.ipc.open_stream(row.counts) as stream:
            for batch in stream:
                frozen.merge(batch.cast(counts))
    frozen.freeze()
    work = _look_up(packed, pickle.dumps(frozen))
    return selected.mapInArrow(work, _spark_schema(frozen.output_schema))


def violations(
    frame: DataFrame, *, schema: DatasetSchema | str | Path, policy: Policy | str | Path | None = None
) -> DataFrame:
    """The violations of a frame as another one: which rule, in which field, of which record; no value.

    ``record_id`` is the text of the column with that role, null where the schema names none. Lazy.

    Raises:
        InputError: as `anonymize`.
    """
    described = schema if isinstance(schema, DatasetSchema) else load_schema(schema)
    rules = policy if isinstance(policy, Policy) else load_policy(policy or described.policy)
    return _selected(frame, described).mapInArrow(_find(pickle.dumps((rules, described))), _spark_schema(_VIOLATION))


def _selected(frame: DataFrame, schema: DatasetSchema) -> DataFrame:
    """The schema's columns in its order."""
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise InputError("the frame lacks columns", path=_PLACE, hint=f"missing are: {', '.join(missing)}")
    if unknown := [name for name in frame.columns if name not in schema.names]:
        hint = f"describe or drop them: {', '.join(unknown)}"
        raise InputError("the frame has columns that the schema does not describe", path=_PLACE, hint=hint)
    return frame.select(*(f"`{name}`" for name in schema.names))


def _spark_schema(schema: pa.Schema) -> str:
    """As the types of Spark's SQL, names quoted."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return cast("str", from_arrow_schema(schema))


def _typed(batch: pa.RecordBatch, schema: DatasetSchema) -> pa.RecordBatch:
    """The batch in the schema's types.

    Raises:
        InputError: a value is not of its column's type, or a required one is missing; names the column, not the value.
    """
    arrays = []
    for column in schema.columns:
        array = typed_array(batch.column(column.name), column, schema.source, _PLACE)
        if array.type == pa.string():
            array, failures = typed_column(array, column)
            if failures:
                raise InputError(failures[0][1], path=_PLACE, column=column.name, hint="repair or filter these rows")
        elif column.required and array.null_count:
            raise InputError("a required value is missing", path=_PLACE, column=column.name, hint="filter these rows")
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)


def _release(packed: bytes) -> Callable[[_Batches], _Batches]:
    def work(batches: _Batches) -> _Batches:
        spec, kernel = _made(_itself, packed), _made(BatchKernel, packed)
        for batch in batches:
            released, _ = kernel.run(_typed(batch, spec.schema))
            yield released.rows

    return work


def _count(packed: bytes) -> Callable[[_Batches], _Batches]:
    def work(batches: _Batches) -> _Batches:
        spec, screening = _made(_itself, packed), _made(Screening, packed)
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
        for batch in batches:
            anonymizer.observe(screening.screen(_typed(batch, spec.schema))[0].rows)
        counts, sink = anonymizer.counts, pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, counts.schema) as writer:
            writer.write_batch(counts)
        yield pa.record_batch({"counts": pa.array([sink.getvalue().to_pybytes()], pa.binary())})

    return work


def _look_up(packed: bytes, frozen: bytes) -> Callable[[_Batches], _Batches]:
    def work(batches: _Batches) -> _Batches:
        spec, screening = _made(_itself, packed), _made(Screening, packed)
        anonymizer = _made(_itself, frozen)
        for batch in batches:
            yield anonymizer.anonymize(screening.screen(_typed(batch, spec.schema))[0].rows).rows

    return work


def _find(packed: bytes) -> Callable[[_Batches], _Batches]:
    def work(batches: _Batches) -> _Batches:
        checker, (_, schema) = _made(_checker, packed), _made(_itself, packed)
        for batch in batches:
            rows = _typed(batch, schema)
            ids = None if schema.record_id is None else rows.column(schema.record_id).cast(pa.string())
            found = list(checker.violations(checker.check(rows)))
            named = pa.nulls(len(found), pa.string())
            if ids is not None:
                named = ids.take(pa.array(np.fromiter((row for row, _ in found), np.int64, len(found))))
            texts = (
                pa.array([getattr(violation, name) for _, violation in found], pa.string())
                for name in ("rule", "field", "severity", "regulation", "article")
            )
            spans = (
                pa.array([getattr(violation, name) for _, violation in found], pa.int32()) for name in ("start", "end")
            )
            yield pa.RecordBatch.from_arrays([named, *texts, *spans], schema=_VIOLATION)

    return work


@lru_cache(maxsize=4)
def _made(make: Callable[..., Any], packed: bytes) -> Any:
    """Object made of a pickled thing, once in each executor."""
    return make(pickle.loads(packed))  # noqa: S301 - our own bytes


def _itself(thing: Any) -> Any:
    return thing


def _checker(sources: tuple[Policy, DatasetSchema]) -> BatchChecker:
    return BatchChecker(*sources)
