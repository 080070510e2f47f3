"""The whole document: complete, repeatable, free of personal values, and right about tokenization."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import achieved_k, assess, render
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema


def test_every_release_is_assessed_and_printed(any_release, people: pa.Table, schema: DatasetSchema) -> None:
    """JSON without NaN, a table, and no value of an identifier in either."""
    released, ordinals = any_release
    found = assess(people, released, ordinals, schema, attempts=100)
    text = json.dumps(found.to_dict(), allow_nan=False) + render(found)
    assert "person " not in text
    assert found.achieved.k == achieved_k(released, found.quasi_identifiers)
    assert [attack.knows for attack in found.linkage] == [1, 2, 3]
    assert found.linkage_risk == found.linkage[-1].risk


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
    assert tokens.linkage_risk == plain.linkage_risk > 0.5
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
