"""Descriptors: the shipped ones fit together, and everything wrong with a user's own is said in one line."""

from __future__ import annotations

import runpy
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from microflow.compliance import load_policy
from microflow.descriptors import load_schema, schema_names
from microflow.errors import SchemaError
from microflow.schema import Column, DatasetSchema, Role

GOOD = """
name: mine
columns:
  id: {role: record_id, type: integer, required: true}
  zip: {role: quasi_identifier, kind: zip, hierarchy: {prefix: [0, 3, 5]}}
  job: {hierarchy: {tree: {any: {office: [clerk, boss], other: [cook]}}}}
"""


@pytest.mark.parametrize("name", schema_names())
def test_shipped_descriptors(name):
    """Each loads, names a policy that exists, and has something to protect."""
    schema = load_schema(name)
    assert schema.name == name
    assert schema.title
    assert load_policy(schema.policy).rules
    assert schema.quasi_identifiers
    assert schema.with_role(Role.SENSITIVE)
    assert schema.arrow.names == list(schema.names)


@pytest.mark.parametrize("name", ["healthcare", "financial", "ecommerce", "iot"])
def test_generated_types_have_all_that_methods_need(name):
    """A record id, codes to tokenize, free text to search and an urgency to route by."""
    schema = load_schema(name)
    assert schema.record_id == "record_id"
    assert len(schema.with_kind("code")) >= 4
    assert len(schema.with_role(Role.FREE_TEXT)) == 1
    assert len(schema.with_kind("urgency")) == 1


def test_an_own_file(tmp_path):
    """By path: prefixes finest first, trees as child to parent, defaults where nothing is said."""
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, "utf-8")
    schema = load_schema(path)
    assert schema["zip"].hierarchy.prefix == (5, 3, 0)
    assert schema["job"].hierarchy.parents == {
        "office": "any", "other": "any", "clerk": "office", "boss": "office", "cook": "other",
    }  # fmt: skip
    assert schema["job"].role is Role.ATTRIBUTE
    assert schema.policy == "combined"


BROKEN = [
    ("columns: [", "not readable as YAML"),
    ("columns: {a: {low: 2021-13-45}}", "a.low must be a whole number or a number"),
    ("&a {columns: *a}", "stands before or within what it repeats"),
    ("columns: {a: {hierarchy: {tree: &t {any: *t}}}}", "stands before or within"),
    ("[" * 5_000, "nest"),
    ("[]", "must be a mapping"),
    ("name: x", "'columns' is missing"),
    ("columns: {}", "'columns' is empty"),
    ("colums: {a: {}}", "unknown key 'colums'"),
    ("columns: {a: {rol: identifier}}", "unknown key 'rol'"),
    ("columns: {a: {role: secret}}", "unknown role 'secret'"),
    ("columns: {a: {type: money}}", "unknown type 'money'"),
    ("columns: {a: {kind: shoe_size}}", "unknown kind 'shoe_size'"),
    ("columns: {a: {low: x}}", "low must be a whole number or a number"),
    ("columns: {a: {low: 2, high: 1}}", "low is above high"),
    ("columns: {a: {hierarchy: {prefix: [a]}}}", "prefix[0] must be a whole number"),
    ("columns: {a: {hierarchy: {prefix: [1], tree: {}}}}", "either 'prefix' or 'tree'"),
    ("columns: {a: {hierarchy: {tree: {any: 3}}}}", "nested mappings"),
    ("columns: {a: {categories: 3}}", "categories must be a list"),
    ("columns: {a: {}}\nsource: {delimiter: ab}", "one character"),
    ('columns: {a: {}}\nsource: {delimiter: "\\0"}', "one character other than the quote or a line end"),
    ("columns: {a: {}}\nsource: {missing: 3}", "missing must be a list"),
    ("columns: {a: {role: record_id}, b: {role: record_id}}", "more than one column"),
    ("columns: {a: {}}\npolicy: [x]", "policy must be"),
    ("columns: {a: {required: 'no'}}", "required must be true or false"),
    ("columns: {a: {}}\nsource: {quote: ab}", "one character"),
    ("columns: {a: {}}\nsource: {encoding: rot13}", "unknown encoding"),
    ("columns: {a: {}}\nsource: {decimal: ;}", "a point or a comma"),
    ("columns: {a: {}}\nothers: keep", "unknown others 'keep' (allowed are: refuse, drop, pass)"),
    ("columns: {a: {type: date, format: MM/DD/JJJJ}}", "'JJJJ' is no part of a date"),
    ("columns: {a: {type: number, format: euro}}", "an example of one"),
    ("columns: {a: {type: boolean, format: Y}}", "its two words"),
    ("columns: {a: {format: x}}", "give the column a type"),
    ("columns: {a: {type: integer, high: 18446744073709551615}}", "between -9007199254740990 and 9007199254740990"),
    ("columns: {a: {categories: [x, y, x]}}", "category 'x' is given twice"),
    ("columns: {a: {type: integer, categories: [1, 01]}}", "category '01' is given twice, first as '1'"),
    ("columns: {a: {type: number, categories: [1.0, 2, 1]}}", "category '1' is given twice, first as '1.0'"),
    ("columns: {a: {ordered: true}}", "an order needs categories"),
    ("columns: {a: {low: 1}}", "a bound belongs to a number, and the type is string"),
    ("columns: {a: {type: timestamp, low: 0, high: 1}}", "a bound belongs to a number, and the type is timestamp"),
    ("columns: {a: {type: number, low: 0, high: 5.0e-324}}", "equal, or at least 1e-290 apart"),
    ("columns: {a: {}}\nsource: {encoding: base64}", "mine.yaml:2: source.encoding: unknown encoding 'base64'"),
    ("columns:\n  ssn: {}\n  a: {}\n  ssn: {}", "mine.yaml:4: 'ssn' is given twice, first in line 2"),
    ("columns: {a: {low: .nan}}", "low must be a whole number or a number"),
    ("columns: {a: {high: 1" + "0" * 400 + "}}", "high must be a number of at most"),
    ("columns: {a: {hierarchy: {tree: {any: {any: [x]}}}}}", "every label stands in it once"),
    ("columns: {a: {hierarchy: {tree: {any: [x], all: [y]}}}}", "a tree has one root"),
    ("columns: {a: {hierarchy: {tree: {any: {b: [x], c: [x]}}}}}", "every label stands in it once"),
]


@pytest.mark.parametrize(("text", "part"), BROKEN)
def test_what_is_wrong_is_named(text, part, tmp_path):
    """One line with the file and the word at fault."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(SchemaError) as caught:
        load_schema(path)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["nobody", "none/such.yaml", "nul\0byte", ""])
def test_a_schema_that_is_not_there(name):
    """The shipped ones are listed."""
    with pytest.raises(SchemaError, match="shipped schemas are: adult"):
        load_schema(name)


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.dates())
KEYS = st.sampled_from(
    [
        "name",
        "columns",
        "source",
        "role",
        "type",
        "kind",
        "low",
        "categories",
        "hierarchy",
        "tree",
        "prefix",
        "missing",
        "x",
    ]
)
DOCUMENTS = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)), max_leaves=12
)


@given(DOCUMENTS, st.dictionaries(KEYS, DOCUMENTS, max_size=4))
def test_any_document_is_a_schema_or_an_error(tmp_path_factory, document, column):
    """Whatever YAML holds, the loader ends in a schema or in a `SchemaError`."""
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    for text in (yaml.safe_dump(document), yaml.safe_dump({"columns": {"a": column}})):
        path.write_text(text, "utf-8")
        with suppress(SchemaError):
            assert isinstance(load_schema(path), DatasetSchema)


def test_a_column_that_is_not_there():
    """The columns that are there are listed."""
    schema = DatasetSchema("x", (Column("a"), Column("b")), policy="gdpr")
    with pytest.raises(SchemaError, match=r"no column 'c' .columns are: a, b"):
        schema["c"]


def test_a_column_twice():
    """Two columns of one name cannot be told apart."""
    with pytest.raises(SchemaError, match="described twice"):
        DatasetSchema("x", (Column("a"), Column("a")), policy="gdpr")


def test_the_documented_descriptor_is_one(tmp_path):
    """The example of the page can be used as it stands."""
    page = (Path(__file__).parents[2] / "docs" / "descriptor.md").read_text("utf-8")
    path = tmp_path / "visits.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0], "utf-8")
    schema = load_schema(path)
    assert schema.person == "patient"
    assert schema["zip"].hierarchy.prefix


def test_page_and_schema_say_what_the_model_says():
    """Both are generated: ``python tests/descriptors/reference.py`` writes them."""
    reference = runpy.run_path(str(Path(__file__).with_name("reference.py")))
    assert reference["PAGE"].read_text("utf-8") == reference["page"]()
    assert reference["SCHEMA"].read_text("utf-8") == reference["schema"]()
    assert all(f"| `{role}` | " in reference["page"]() for role in Role)
    assert "|  |\n" not in reference["page"]()


def test_a_misspelt_key_says_which_was_meant(tmp_path):
    """With its line."""
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("required: true", "requird: true"), "utf-8")
    with pytest.raises(
        SchemaError, match=r"mine\.yaml:4: columns\.id: unknown key 'requird' \(did you mean 'required'"
    ):
        load_schema(path)
