"""A Spark frame is released as the local engine releases the same rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import BatchChecker, load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec, build_processor
from microflow.errors import InputError, MicroflowError
from microflow.records import microflows
from microflow.timing.clock import PhaseClock

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def session() -> SparkSession:
    from microflow.engine.spark_pool import spark_session

    return spark_session("local[2]")


@pytest.fixture(scope="module")
def rows() -> pa.RecordBatch:
    return pa.concat_batches([batch.rows for batch in generate("healthcare", 2_000, 7)])


@pytest.fixture(scope="module")
def frame(session: SparkSession, rows: pa.RecordBatch) -> DataFrame:
    return session.createDataFrame(pa.Table.from_batches([rows]).to_pandas()).repartition(5)


def local(rows: pa.RecordBatch, settings: MethodSettings) -> list[dict[str, object]]:
    schema = load_schema("healthcare")
    spec = ProcessingSpec(schema, load_policy(schema.policy), settings, key=KEY)
    done = build_processor(spec).process(microflows([rows]), PhaseClock())
    return [row for one in done for row in one.released.to_pylist()]


def in_order(found: list[dict[str, object]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in found)


def rows_of(frame: DataFrame) -> list[dict[str, object]]:
    return pa.Table.to_pylist(frame.toArrow())


@pytest.mark.parametrize(
    "settings", [MethodSettings(Method.TOKENIZATION), MethodSettings(Method.K_ANONYMITY, k=4)], ids=lambda s: s.method
)
def test_the_rows_are_those_of_the_local_engine(
    frame: DataFrame, rows: pa.RecordBatch, settings: MethodSettings
) -> None:
    """Whatever the partitions: k is formed over the whole frame, and tokens are those of the key."""
    from microflow.spark import anonymize

    released = anonymize(frame, schema="healthcare", method=settings, key=KEY)
    assert in_order(rows_of(released)) == in_order(local(rows, settings))


def test_violations_name_rules_and_records(frame: DataFrame, rows: pa.RecordBatch) -> None:
    """The same findings as the local check, by rule and field; no value is among the columns."""
    from microflow.spark import violations

    schema = load_schema("healthcare")
    checker = BatchChecker(load_policy(schema.policy), schema)
    expected = Counter((one.rule, one.field) for _, one in checker.violations(checker.check(rows)))
    found = rows_of(violations(frame, schema="healthcare"))
    assert Counter((one["rule"], one["field"]) for one in found) == expected
    assert set(found[0]) == {
        "record_id", "rule", "field", "severity", "regulation", "article", "span_start", "span_end",
    }  # fmt: skip


def test_a_frame_that_does_not_fit_is_refused_by_name(frame: DataFrame) -> None:
    """Missing and unknown columns are all named at once, before any task starts."""
    from microflow.spark import anonymize

    with pytest.raises(InputError, match="missing are: zip"):
        anonymize(frame.drop("zip"), schema="healthcare", method="k_anonymity", k=3)
    with pytest.raises(InputError, match="describe or drop them: shoe"):
        anonymize(
            frame.withColumnRenamed("zip", "shoe").selectExpr("*", "shoe as zip"),
            schema="healthcare",
            method="k_anonymity",
        )


def test_tokens_need_a_key_of_their_length(frame: DataFrame) -> None:
    """A short key is refused here, not in a task."""
    from microflow.spark import anonymize

    with pytest.raises(MicroflowError, match="needs a key"):
        anonymize(frame, schema="healthcare", method="tokenization", key=b"short")
