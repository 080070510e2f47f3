"""Which released row belongs to which original one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from microflow.assess.pair import Pair, align
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role

NAMED = DatasetSchema(
    "named", (Column("id", Role.RECORD_ID, Dtype.INTEGER), Column("age", Role.QUASI_IDENTIFIER)), "combined"
)
PLAIN = DatasetSchema("plain", (Column("age", Role.QUASI_IDENTIFIER),), "combined")


def table(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "age": ["1"] * len(ids)})


def test_record_ids_find_rows_in_any_order() -> None:
    """Suppressed rows are missing, others may have moved."""
    assert align(NAMED, table(7, 8, 9, 10), table(10, 7, 9)).tolist() == [3, 0, 2]


def test_without_record_ids_equal_lengths_are_compared() -> None:
    """And nothing else: which rows are missing could not be known."""
    assert align(PLAIN, table(1, 2), table(3, 4)).tolist() == [0, 1]
    with pytest.raises(InputError, match="1 released rows") as caught:
        align(PLAIN, table(1, 2), table(3))
    assert "record_id" in caught.value.hint


@pytest.mark.parametrize(
    ("original", "released", "says"),
    [
        ((1, 1), (1,), "occurs twice"),
        ((1, 2), (1, 1), "occurs twice"),
        ((1, 2), (3,), "does not have"),
    ],
)
def test_ids_that_do_not_fit_are_refused(original: tuple[int, ...], released: tuple[int, ...], says: str) -> None:
    """Twice the same, or one that was never there."""
    with pytest.raises(InputError, match=says):
        align(NAMED, table(*original), table(*released))


@pytest.mark.parametrize(
    ("released", "ordinals", "says"),
    [
        (table(1, 2), [0], "one original row"),
        (table(1, 2), [0, 0], "one original row"),
        (table(1, 2), [0, 9], "does not exist"),
        (table(1, 2), [0, -1], "does not exist"),
        (table(), [], "no rows"),
        (table(1).select(["id"]), [0], "no column 'age'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(released: pa.Table, ordinals: list[int], says: str) -> None:
    """Before anything is measured."""
    with pytest.raises(InputError, match=says):
        Pair.of(NAMED, table(1, 2), released, np.array(ordinals, np.int64))
