"""The YAML reader: scalars stay what was written, and whatever is wrong is one error with its line."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from microflow.errors import InputError, PolicyError, SchemaError
from microflow.yaml_model import read_file, read_text


class Part(msgspec.Struct):
    role: Literal["a", "b"] = "a"
    low: int | float | None = None
    words: list[str] = []
    flag: bool = False
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    day: date | None = None
    least: int | float | str | None = None


class Whole(msgspec.Struct):
    columns: dict[str, Part]
    tree: Any = None
    policy: str = "x"


def read(text: str) -> Whole:
    return read_text(text, Whole, "s.yaml", SchemaError).model


WRITTEN = ["01", "No", "NO", "yes", "on", "off", "null", "~", "12:30", "1.10", "1e3", "0x1F", "2021-01-01", "1_000"]


@pytest.mark.parametrize("word", WRITTEN)
def test_scalars_stay_as_they_were_written(word):
    """As a key, in a list and as a value, where text is meant."""
    found = read(f"columns: {{{word}: {{words: [{word}]}}}}\npolicy: {word}")
    assert found.columns == {word: Part(words=[word])}
    assert found.policy == word


def test_types_are_what_the_model_asks_for():
    """Whole numbers are exact beyond 2**53; true, yes and on are one; null is none; quotes make text."""
    text = (
        "columns: {a: {low: 9007199254740993, flag: yes, day: 2021-03-14, count: 7, least: '3'}, b: {low: null}, c: }"
    )
    found = read(text).columns
    assert found["a"] == Part(low=2**53 + 1, flag=True, day=date(2021, 3, 14), count=7, least="3")
    assert found["b"] == found["c"] == Part()
    assert read("columns: {a: {least: 3.5}, b: {least: x}}").columns["a"].least == 3.5


BROKEN = [
    ("columns:\n  a: {}\n  b: {}\n  a: {}", 4, "'a' is given twice, first in line 2"),
    ("columns: {}\npolicy: x\npolicy: y", 3, "'policy' is given twice"),
    ("columns:\n  a:\n    role: c", 3, "columns.a: unknown role 'c' (allowed are: a, b)"),
    ("columns:\n  a:\n    rol: a", 3, "columns.a: unknown key 'rol' (did you mean 'role'? allowed are: role, low"),
    ("columns: {}\npolici: x", 2, "unknown key 'polici' (did you mean 'policy'? allowed are: columns, tree, policy)"),
    ("columns:\n  a: {\n  low: x}", 3, "columns.a.low must be a whole number or a number"),
    ("columns: {a: {low: 1e999}}", 1, "at most 1.8e308"),
    ("columns: {a: {low: .nan}}", 1, "must be a whole number or a number"),
    ("columns: {a: {count: 0}}", 1, "a whole number >= 1"),
    ("columns: {a: {day: 2021-02-30}}", 1, "a date such as"),
    ("columns: {a: {flag: maybe}}", 1, "true or false"),
    ("columns: {a: {flag: 'no'}}", 1, "true or false"),
    ("columns: {a: {words: 3}}", 1, "must be a list"),
    ("columns: {a: {words: [x, [y]]}}", 1, "columns.a.words[1] must be a text"),
    ("policy: y", 1, "'columns' is missing"),
    ("[]", 1, "must be a mapping"),
    ("", 1, "'columns' is missing"),
    ("columns:\n  a: {", 3, "not readable as YAML"),
    ("columns: {}\n---\ncolumns: {}", 2, "more than one document"),
    ("columns: {}\ntree: !!python/object:os.system x", 2, "a tag"),
    ("columns: {}\ntree: {<<: {a: 1}}", 2, "merge"),
    ("columns: {}\ntree: *a", 2, "*a stands before"),
    ("columns: {}\ntree: &a [*a]", 2, "*a stands before or within"),
    ("? [a]\n: 1", 1, "a key is a word"),
    ("columns: {a: {words: [\n]}}\npolicy:", 3, 'an empty text is written ""'),
    ("columns: {}\ntree: " + "[" * 60 + "]" * 60, 2, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "line", "part"), BROKEN)
def test_errors_name_the_line_and_the_words(text, line, part):
    """One error of the class asked for: file, line, part, remedy."""
    with pytest.raises(SchemaError) as caught:
        read(text)
    assert str(caught.value).startswith(f"s.yaml:{line}:")
    assert part in str(caught.value)


def test_aliases_repeat_but_do_not_explode():
    """An alias is its anchor again; nine levels of nine are refused at once."""
    assert read("columns: {a: &x {words: [u]}, b: *x}").columns["b"] == Part(words=["u"])
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    begin = time.process_time()
    with pytest.raises(SchemaError, match="aliases"):
        read("\n".join(lines))
    assert time.process_time() - begin < 1


def test_a_chain_of_aliases_is_not_followed_as_deep_as_it_goes():
    """Each repeats the one before, one level further in: what is written flat would be a thousand levels deep."""
    chain = "".join(f"  a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1_300))
    with pytest.raises(SchemaError, match=r"s\.yaml:\d+: nested too deeply"):
        read(f"columns: {{}}\ntree:\n  a0: &a0 [x]\n{chain}")


def test_meaning_is_said_with_its_line():
    """What only the caller can judge is reported where it stands, or at what holds it."""
    document = read_text("columns:\n  a:\n    low: 3\n", Whole, "p.yaml", PolicyError)
    assert str(document.error("too low", "columns", "a", "low")) == "p.yaml:3: columns.a.low: too low"
    assert str(document.error("no high", "columns", "a", "high", allowed=["x"])).startswith("p.yaml:2:")
    assert isinstance(document.error("x"), PolicyError)


def test_files(tmp_path):
    """A byte order mark is dropped; what is no file, or no UTF-8, is an error."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfcolumns: {a: }")
    assert read_file(path, Whole).model.columns == {"a": Part()}
    path.write_bytes(b"columns: {\xff: }")
    with pytest.raises(InputError, match="not UTF-8"):
        read_file(path, Whole)
    for wrong in (tmp_path, tmp_path / "none", tmp_path / "nul\0"):
        with pytest.raises(InputError, match="cannot be read"):
            read_file(wrong, Whole)


def test_editors_know_the_words():
    """The JSON Schema lists what a word may be."""
    part = msgspec.json.schema(Whole)["$defs"]["Part"]["properties"]
    assert part["role"]["enum"] == ["a", "b"]


@given(st.text(max_size=60))
def test_any_text_is_a_model_or_an_error(text):
    """Nothing ends in another exception."""
    with suppress(SchemaError):
        assert isinstance(read(text), Whole)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)


@given(st.dictionaries(WORDS, st.lists(WORDS)))
def test_what_yaml_writes_is_read_back(columns):
    """Any words come back as they were, by the writer of another package."""
    text = yaml.safe_dump({"columns": {name: {"words": words} for name, words in columns.items()}}, allow_unicode=True)
    assert {name: part.words for name, part in read(text).columns.items()} == columns
