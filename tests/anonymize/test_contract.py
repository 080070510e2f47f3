"""The size of a microflow is the engine's business: however rows are cut, the same rows leave."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import (
    BatchAnonymizer,
    DatasetAnonymizer,
    Method,
    MethodSettings,
    RecordAnonymizer,
    Released,
    Scope,
)
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError

ROWS = 3_000
KEY = hashlib.sha512(b"pieces").digest()
HEALTHCARE = load_schema("healthcare")
#: Without a record id noise follows the place of a record among all.
SCHEMAS = {"numbered": HEALTHCARE, "unnumbered": replace(HEALTHCARE, columns=HEALTHCARE.columns[1:])}
ARMS = [
    MethodSettings(Method.TOKENIZATION, key_bits=128),
    MethodSettings(Method.TOKENIZATION, key_bits=512),
    MethodSettings(Method.TOKENIZATION, reversible=True),
    MethodSettings(Method.DIFFERENTIAL_PRIVACY, seed=1),
    MethodSettings(Method.DIFFERENTIAL_PRIVACY, seed=1, epsilon=8.0),
    MethodSettings(Method.K_ANONYMITY),
    MethodSettings(Method.K_ANONYMITY, k=3, l_diversity=2),
]
CUTS = st.lists(st.integers(0, ROWS), max_size=12).map(lambda cuts: sorted({0, *cuts, ROWS}))


@cache
def rows_of(schema: str) -> pa.RecordBatch:
    names = list(SCHEMAS[schema].names)
    return pa.concat_batches([flow.rows.select(names) for flow in generate("healthcare", ROWS, seed=5)])


def fresh(asked: MethodSettings, schema: str) -> BatchAnonymizer:
    return cast("BatchAnonymizer", build_anonymizer(asked, SCHEMAS[schema], KEY[: asked.key_bits // 8]))


def released(asked: MethodSettings, schema: str, pieces: list[pa.RecordBatch]) -> list[Released]:
    anonymizer = fresh(asked, schema)
    if isinstance(anonymizer, DatasetAnonymizer):
        for piece in pieces:
            anonymizer.observe(piece)
        anonymizer.freeze()
    return [anonymizer.anonymize(piece) for piece in pieces]


@cache
def whole(asked: MethodSettings, schema: str) -> Released:
    return released(asked, schema, [rows_of(schema)])[0]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("asked", ARMS, ids=str)
@settings(max_examples=8)
@given(cuts=CUTS)
def test_pieces_of_any_size_give_the_rows_of_the_whole(asked: MethodSettings, schema: str, cuts: list[int]) -> None:
    """One after the other on a fresh anonymizer; empty pieces, single rows and slices among them."""
    pieces = [rows_of(schema).slice(first, last - first) for first, last in pairwise(cuts)]
    parts = released(asked, schema, pieces)
    assert pa.concat_batches([part.rows for part in parts]).equals(whole(asked, schema).rows)
    kept = np.concatenate([first + part.kept for first, part in zip(cuts, parts, strict=False)])
    assert np.array_equal(kept, whole(asked, schema).kept)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("asked", [one for one in ARMS if one.method is not Method.K_ANONYMITY], ids=str)
def test_a_whole_gives_the_rows_of_its_records(asked: MethodSettings, schema: str) -> None:
    """Thousands of rows at once are the same rows as one by one."""
    anonymizer = fresh(asked, schema)
    assert isinstance(anonymizer, RecordAnonymizer)
    alone = [anonymizer.anonymize_record(record) for record in rows_of(schema).to_pylist()]
    assert alone == whole(asked, schema).rows.to_pylist()


def test_a_method_may_be_given_by_its_word() -> None:
    """The word means its method, never another one; an unknown word is an error that lists the methods."""
    assert MethodSettings("tokenization").method is Method.TOKENIZATION  # type: ignore[arg-type]
    assert MethodSettings("k_anonymity", scope="stream").scope is Scope.STREAM  # type: ignore[arg-type]
    with pytest.raises(MicroflowError, match="methods are: k_anonymity"):
        MethodSettings("magic")  # type: ignore[arg-type]
