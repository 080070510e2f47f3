"""One definition, two compiled forms that agree on everything, remedies included; and the check of one record."""

from __future__ import annotations

import pickle
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.compliance import (
    BatchChecker,
    BatchRemedy,
    Policy,
    RecordChecker,
    RecordRemedy,
    detailed_compliance_check,
    load_policy,
    policy_names,
)
from microflow.compliance.conditions import FieldCondition
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema, schema_names
from microflow.errors import SchemaError
from microflow.records import to_batch
from microflow.schema import DatasetSchema

SHIPPED = [(policy, schema) for policy in policy_names() for schema in schema_names()]


class Compiled:
    """A policy on a schema in all its compiled forms."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self.schema = schema
        self.batch, self.record = BatchChecker(policy, schema), RecordChecker(policy, schema)
        self.batch_remedy, self.record_remedy = BatchRemedy(policy, schema), RecordRemedy(policy, schema)


@cache
def compiled(policy: str, schema: str) -> Compiled:
    return Compiled(load_policy(policy), load_schema(schema))


def rows_of(checker: BatchChecker, records: list[dict[str, Any]], schema: DatasetSchema) -> list[list[Any]]:
    found: list[list[Any]] = [[] for _ in records]
    for row, violation in checker.violations(checker.check(to_batch(records, schema.arrow))):
        found[row].append(violation)
    return found


@pytest.mark.parametrize(("policy_name", "schema_name"), SHIPPED)
@settings(max_examples=12)
@given(data=st.data())
def test_both_forms_find_the_same(policy_name: str, schema_name: str, hostile: Any, data: st.DataObject) -> None:
    """Batch and record checks name the same violations, in the same order, with the same spans, on hostile values."""
    forms = compiled(policy_name, schema_name)
    records = data.draw(st.lists(hostile(forms.schema), min_size=1, max_size=5))
    expected = [forms.record.check(record) for record in records]
    assert rows_of(forms.batch, records, forms.schema) == expected


@pytest.mark.parametrize(("policy_name", "schema_name"), SHIPPED)
@settings(max_examples=10)
@given(data=st.data())
def test_both_remedies_agree_and_leave_nothing(
    policy_name: str, schema_name: str, hostile: Any, data: st.DataObject
) -> None:
    """The same rows survive with the same values and types, and a second check finds nothing in them."""
    forms = compiled(policy_name, schema_name)
    records = data.draw(st.lists(hostile(forms.schema), min_size=1, max_size=5))
    batch = to_batch(records, forms.schema.arrow)
    found = forms.batch.check(batch)
    remedied, positions = forms.batch_remedy.apply(batch, found)
    expected = [forms.record_remedy.apply(record, forms.record.check(record)) for record in records]
    survivors = [record for record in expected if record is not None]
    assert [repr(record) for record in remedied.to_pylist()] == [repr(record) for record in survivors]
    assert positions.tolist() == [i for i, record in enumerate(expected) if record is not None]
    assert remedied.schema == batch.schema
    assert len(forms.batch.check(remedied)) == 0
    kinds = [column.dtype.name for column in (found.rows, found.targets, found.starts, found.ends)]
    assert kinds == ["int32", "int16", "int32", "int32"]


_SPELLED = st.lists(
    st.sampled_from(
        ["opt", "in", "yes", "oui", "straße", "ÉTÉ", "a+b", "#1", " ", "-", "_", "\t", "\u00a0", "\u3000", "K", "ſ"]
    ),
    max_size=5,
).map("".join)


@settings(max_examples=60)
@given(words=st.lists(_SPELLED | st.text(max_size=4), min_size=1, max_size=4), data=st.data())
def test_both_forms_read_coded_words_alike(words: list[str], data: st.DataObject) -> None:
    """Any word of a policy, any value, in any case and between any blanks: found by both forms, or by neither."""
    spelled = st.sampled_from(words) | _SPELLED | st.text(max_size=5)
    values = data.draw(
        st.lists(spelled.flatmap(lambda one: st.sampled_from([one, one.upper(), one.lower(), f" {one}\n"])))
    )
    for word in ("one_of", "not_one_of"):
        asked, holds = FieldCondition(word, tuple(words)).forms(date(2026, 1, 1))
        frame = pl.DataFrame({"value": values}, schema={"value": pl.String})
        assert frame.select(asked(pl.col("value"))).to_series().to_list() == list(map(holds, values))


@pytest.mark.parametrize("name", DATA_TYPES)
@pytest.mark.parametrize("keeps_all", [False, True])
def test_many_rows_are_remedied_each_in_its_place(name: str, keeps_all: bool) -> None:
    """Rows that go, cells that are remedied and cells that are not, side by side: as record after record."""
    schema = load_schema(name)
    forms = compiled(schema.policy, name)
    records = next(generate(name, 700, seed=3)).rows.to_pylist()
    expected = [forms.record_remedy.apply(record, forms.record.check(record)) for record in records]
    if keeps_all:
        records = [record for record, after in zip(records, expected, strict=True) if after is not None]
    batch = to_batch(records, schema.arrow)
    remedied, positions = forms.batch_remedy.apply(batch, forms.batch.check(batch))
    assert remedied.to_pylist() == [after for after in expected if after is not None]
    assert len(positions) == remedied.num_rows
    assert remedied.to_pylist() != records


@pytest.mark.parametrize("name", ["healthcare", "iot"])
def test_a_compiled_check_travels_to_a_worker(name: str) -> None:
    """Checkers and remedies survive pickling and say the same afterwards."""
    schema = load_schema(name)
    policy = load_policy(schema.policy)
    record = dict.fromkeys(schema.names) | {"record_id": 1, "latitude": 53.12345, "ssn": "123-45-6789"}
    record = {field: value for field, value in record.items() if field in schema.names}
    batch = to_batch([record], schema.arrow)
    for kind in (BatchChecker, RecordChecker, BatchRemedy, RecordRemedy):
        pickle.loads(pickle.dumps(kind(policy, schema)))
    before, after = BatchChecker(policy, schema), pickle.loads(pickle.dumps(BatchChecker(policy, schema)))
    assert before.violations(before.check(batch)) == after.violations(after.check(batch)) != []
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("record", "rules", "unreadable"),
    [
        ({"record_id": 1}, [], []),
        ({"record_id": "1", "age": " 95 ", "zip": 94110}, ["hipaa-zip", "hipaa-age"], []),
        ({"age": 95.0, "ssn": 123456789}, ["hipaa-age", "hipaa-ssn"], []),
        ({"age": "very old", "notes": ["123-45-6789"]}, [], ["age", "notes"]),
        ({"admission_date": date(2021, 3, 4)}, [], ["admission_date"]),
        ({"ssn": True, "age": None, "email": ""}, ["hipaa-ssn"], []),
        ({"age": "95", "unknown": "123-45-6789"}, ["hipaa-age"], []),
        ({"age": float("nan")}, [], ["age"]),
    ],
)
def test_any_record_is_answered(record: dict[str, Any], rules: list[str], unreadable: list[str]) -> None:
    """Values are converted as those of a file; a value that cannot be is named, and the record is not compliant."""
    answer = detailed_compliance_check(record, "healthcare")
    assert [violation["rule"] for violation in answer["violations"]] == rules
    assert answer["unreadable"] == unreadable
    assert answer["compliant"] == (not rules and not unreadable)
    assert (answer["policy"], answer["data_type"]) == ("hipaa", "healthcare")


def test_an_unknown_data_type_is_named() -> None:
    """The hint lists those there are."""
    with pytest.raises(SchemaError, match="'hospital'"):
        detailed_compliance_check({}, "hospital")
