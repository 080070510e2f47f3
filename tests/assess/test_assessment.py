"""The whole document: complete, repeatable, free of personal values, and right about tokenization."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import assess, render
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role


def test_every_release_is_assessed_and_printed(any_release, people: pa.Table, schema: DatasetSchema) -> None:
    """JSON without NaN, a table, and no value of an identifier in either."""
    released, ordinals = any_release
    found = assess(people, released, ordinals, schema, attempts=100)
    text = json.dumps(found.to_dict(), allow_nan=False) + render(found)
    assert "person " not in text
    shown = released.select(list(found.quasi_identifiers)).to_pandas()
    assert found.achieved.k == shown.groupby(list(found.quasi_identifiers), dropna=False).size().min()
    assert [attack.knows for attack in found.linkage] == [1, 2, 3]


def test_equal_seeds_give_equal_assessments(any_release, people: pa.Table, schema: DatasetSchema) -> None:
    """And another seed attacks others."""
    released, ordinals = any_release
    one, same, other = (assess(people, released, ordinals, schema, attempts=60, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_tokenization_is_told_to_be_pseudonymisation(people: pa.Table, release, schema: DatasetSchema) -> None:
    """A high linkage risk, equal to that of no protection, and the article that says why."""
    tokens = assess(people, *release(MethodSettings(Method.TOKENIZATION)), schema, attempts=300)
    plain = assess(people, *release(MethodSettings(Method.IDENTITY)), schema, attempts=300)
    assert tokens.linkage[-1].risk == plain.linkage[-1].risk > 0.5
    why = " ".join(tokens.reasons)
    assert "GDPR Art. 4(5)" in why
    assert "age, sex, town: released as precisely as they came" in why
    assert "name: identifiers are released as they were" in " ".join(plain.reasons)


def test_one_identifier_that_leaked_is_told(people: pa.Table, release, schema: DatasetSchema) -> None:
    """Blank but for a single row."""
    released, ordinals = release(MethodSettings(Method.K_ANONYMITY))
    names = [None] * released.num_rows
    names[7] = people.column("name")[int(ordinals[7])].as_py()
    leaked = released.set_column(1, "name", pa.array(names, pa.string()))
    assert "name: identifiers are released as they were" in " ".join(assess(people, leaked, ordinals, schema).reasons)


def test_reversible_tokens_are_told(people: pa.Table, release, schema: DatasetSchema) -> None:
    """The key holder's power is part of the risk."""
    found = assess(people, *release(MethodSettings(Method.TOKENIZATION, reversible=True)), schema, attempts=50)
    assert "turn these tokens back" in " ".join(found.reasons)


def test_perturbed_releases_warn_about_class_sizes(people: pa.Table, release, schema: DatasetSchema) -> None:
    """k of a noisy table is no claim about anybody; k-anonymity needs no such warning."""
    noisy = assess(people, *release(MethodSettings(Method.DIFFERENTIAL_PRIVACY, seed=1)), schema, attempts=50)
    assert "perturbed or removed" in " ".join(noisy.reasons)
    classes = assess(people, *release(MethodSettings(Method.K_ANONYMITY)), schema, attempts=50)
    assert not classes.reasons
    assert classes.achieved.k >= 5
    assert classes.reidentification.prosecutor_highest <= 0.2
    assert classes.reidentification.journalist_highest <= 0.2


def test_without_quasi_identifiers_there_is_no_attack() -> None:
    """An error, not a risk of zero."""
    bare = DatasetSchema("bare", (Column("note"),), "combined")
    table = pa.table({"note": ["x"]})
    with pytest.raises(InputError, match="quasi-identifiers"):
        assess(table, table, np.array([0]), bare)


HOSTILE = DatasetSchema(
    "hostile",
    (
        Column("grade", Role.QUASI_IDENTIFIER),
        Column("points", Role.QUASI_IDENTIFIER, Dtype.NUMBER),
        Column("remark", Role.SENSITIVE),
        Column("cost", Role.SENSITIVE, Dtype.NUMBER),
    ),
    "combined",
)
GRADES = st.sampled_from(["A*", "A", "{A,B}", "B", "{x}", "null", "*", "\\", "[A..B]", "", None])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "grade": GRADES,
            "points": st.sampled_from([None, 0.0, -1.5, 1e300, 2.0]),
            "remark": GRADES,
            "cost": st.sampled_from([None, 1.0, 2.0]),
        }
    ),
    min_size=2,
    max_size=80,
)


@pytest.mark.filterwarnings("error")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS)
def test_values_that_look_like_labels_are_values(rows: list[dict[str, object]]) -> None:
    """Whatever a column holds: no NaN, no warning, nothing lost by an identity, and every label covers its rows."""
    table = pa.Table.from_pylist(rows, schema=HOSTILE.arrow)
    batch = table.combine_chunks().to_batches()[0]
    plain = assess(table, table, np.arange(len(rows)), HOSTILE, attempts=10)
    assert plain.loss.gcp == 0
    anonymizer = build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=2), HOSTILE)
    anonymizer.observe(batch)  # type: ignore[attr-defined]
    anonymizer.freeze()  # type: ignore[attr-defined]
    released = anonymizer.anonymize(batch)  # type: ignore[attr-defined]
    found = assess(table, pa.Table.from_batches([released.rows]), released.kept, HOSTILE, attempts=10)
    json.dumps([plain.to_dict(), found.to_dict()], allow_nan=False)
    assert all(found.loss.columns[name].distortion == 0 for name in ("grade", "points", "remark", "cost"))


def test_what_was_counted_is_said() -> None:
    """Rows where no column says whose they are, and that one seems to; persons where one does."""
    plain = (Column("age", Role.QUASI_IDENTIFIER), Column("patient_id", Role.IDENTIFIER))
    table = pa.table({"age": ["a"] * 6 + ["b"] * 6, "patient_id": list("wwwxyzuvuvuv")})
    found = {}
    for role in (Role.IDENTIFIER, Role.PERSON):
        schema = DatasetSchema("visits", (plain[0], Column("patient_id", role)), "hipaa")
        found[role] = assess(table, table, np.arange(12), schema, attempts=10)
    assert (found[Role.IDENTIFIER].achieved.k, found[Role.PERSON].achieved.k) == (6, 2)
    assert "k (smallest class, in rows)" in render(found[Role.IDENTIFIER])
    assert "patient_id: named like a person's" in render(found[Role.IDENTIFIER])
    assert "k (smallest class, in persons)" in render(found[Role.PERSON])
    assert "named like" not in render(found[Role.PERSON])
    assert found[Role.PERSON].reidentification.prosecutor_highest == 0.5
