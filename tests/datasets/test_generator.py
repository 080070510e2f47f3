"""Generated data: the same bytes for a seed, the schema's types, and a truth that the checker confirms."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from microflow.compliance import BatchChecker, load_policy
from microflow.datasets import DATA_TYPES, generate, identifiers
from microflow.datasets.draws import Draws, Page
from microflow.descriptors import load_schema
from microflow.errors import InputError

ROWS = 20_000


def whole(data_type, rows=ROWS, seed=7, **options):
    """All blocks as one batch of rows and one of truth."""
    blocks = list(generate(data_type, rows, seed, **options))
    return pa.concat_batches([b.rows for b in blocks]), pa.concat_batches([b.truth for b in blocks])


@pytest.fixture(scope="module", params=DATA_TYPES)
def generated(request):
    """Name, rows and truth of each data type."""
    return request.param, *whole(request.param)


def test_rows_fit_the_schema(generated):
    """Types, record ids that are ordinals, and values inside the public bounds and categories of the descriptor."""
    name, rows, _ = generated
    schema = load_schema(name)
    assert rows.schema == schema.arrow
    assert rows.column("record_id").to_pylist() == list(range(ROWS))
    for column in schema.columns:
        values = rows.column(column.name).drop_null()
        if column.categories:
            assert set(values.unique().to_pylist()) <= set(column.categories)
        if column.low is not None and column.is_numeric:
            assert column.low <= pc.min(values).as_py()
            assert pc.max(values).as_py() <= column.high


def test_the_checker_finds_the_truth_and_nothing_else(generated):
    """Every injected violation, with its span, is found by the default policy; no look-alike is."""
    name, rows, truth = generated
    schema = load_schema(name)
    checker = BatchChecker(load_policy(schema.policy), schema)
    found = [(row, v.rule, v.field, v.start, v.end) for row, v in checker.violations(checker.check(rows))]
    assert Counter(found) == Counter(tuple(entry.values()) for entry in truth.to_pylist())


OWN_SENTENCES = ("Spoke with {} again.", "{} agreed to it.", "Left a message for {}.", "As {} reported, no change.")


def with_own_names(data_type, column, text, policy):
    """10,000 records, three in ten of which get a name, in its column and once more in their prose, and the truth.

    In prose it stands as it is, in capitals, small, turned or in part.
    """
    rows, truth = whole(data_type, 10_000)
    page = Page(dict(zip(rows.schema.names, rows.columns, strict=True)), 0, [truth])
    draws = Draws(np.random.SeedSequence(7), rows.num_rows)
    chosen = np.flatnonzero(draws.hits(0.3) & np.asarray(rows[column].is_null()))
    own = draws.of(len(chosen))
    names, written = identifiers.names(own), []
    for name, form in zip(names, own.below(5).tolist(), strict=True):
        given, _, family = name.partition(" ")
        written.append((name, name.upper(), name.lower(), f"{family}, {given}", family)[form])
    page.put(column, chosen, names)
    page.note(f"{policy}-name", column, chosen)
    page.append_sentences(f"{policy}-text-name", text, chosen, own.words(OWN_SENTENCES), written)
    columns = [page.columns[name] for name in rows.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema), page.truth()


@pytest.mark.parametrize(
    ("name", "column", "text", "policy"),
    [("healthcare", "patient_name", "notes", "hipaa"), ("financial", "customer_name", "remarks", "gdpr")],
)
def test_own_names_in_prose_are_found(name, column, text, policy):
    """Recall of a record's own name in its text ≥ 0.999 and precision ≥ 0.995, however it is written; spans exact."""
    rows, truth = with_own_names(name, column, text, policy)
    schema = load_schema(name)
    checker = BatchChecker(load_policy(schema.policy), schema)
    found = {(row, v.rule, v.start, v.end) for row, v in checker.violations(checker.check(rows))}
    true = {(entry["row"], entry["rule"], entry["start"], entry["end"]) for entry in truth.to_pylist()}
    own = {one for one in true if one[1].endswith("text-name")}
    assert len(own) > 2_000
    assert len(own & found) >= 0.999 * len(own)
    assert len(true & found) >= 0.995 * len(found)


def test_every_rule_is_broken(generated):
    """Each leak of the data type occurs, so that a checker's recall is measured on all of them."""
    _, _, truth = generated
    assert min(Counter(truth.column("rule").to_pylist()).values()) > 10
    assert len(set(truth.column("rule").to_pylist())) >= 9


def test_the_violation_rate(generated):
    """The share of records with a violation is what was asked for, within four standard errors."""
    _, _, truth = generated
    share = len(set(truth.column("row").to_pylist())) / ROWS
    assert abs(share - 0.085) < 4 * np.sqrt(0.085 * 0.915 / ROWS)


def test_truth_is_sorted(generated):
    """By row, then rule, field and start."""
    _, _, truth = generated
    entries = [tuple(entry.values())[:4] for entry in truth.to_pylist()]
    assert entries == sorted(entries)


def test_spans_hold_what_they_name(generated):
    """A span lies inside its text and neither begins nor ends with a blank."""
    _, rows, truth = generated
    spans = [entry for entry in truth.to_pylist() if entry["start"] >= 0]
    assert spans
    for entry in spans:
        text = rows.column(entry["field"])[entry["row"]].as_py()
        part = text[entry["start"] : entry["end"]]
        assert part == part.strip() != ""


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_a_prefix_is_a_prefix(data_type):
    """Fewer rows are the beginning of more, in rows and in truth, across block borders."""
    few, few_truth = whole(data_type, 10_007)
    more, more_truth = whole(data_type, ROWS)
    assert few.equals(more.slice(0, 10_007))
    assert few_truth.equals(more_truth.filter(pc.less(more_truth.column("row"), 10_007)))


def test_seeds_differ():
    """Another seed, other people; another data type under the same seed, other numbers."""
    assert not whole("healthcare", 100, seed=1)[0].equals(whole("healthcare", 100, seed=2)[0])
    ages = [whole(name, 100)[0].column("age").to_pylist() for name in ("financial", "ecommerce")]
    assert ages[0] != ages[1]


def test_bytes_are_those_of_the_first_release():
    """The data of published results can be made again: a change here changes what every seed means."""
    digests = {}
    for data_type in DATA_TYPES:
        rows, truth = whole(data_type, 500, seed=1)
        text = repr((rows.to_pylist(), truth.to_pylist())).encode()
        digests[data_type] = hashlib.sha256(text).hexdigest()[:12]
    assert digests == {
        "healthcare": "64130b15b588",
        "financial": "a3cd75258873",
        "ecommerce": "3c29bcdc6304",
        "iot": "ce7fb42d4704",
    }


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_rate_and_hard_cases_leave_the_rest_alone(data_type):
    """Rows clean in both are equal, whatever the rate; without hard cases only masks and free text differ."""
    rows, truth = whole(data_type, 2_000)
    clean, no_truth = whole(data_type, 2_000, violation_rate=0)
    assert no_truth.num_rows == 0
    untouched = np.setdiff1d(np.arange(2_000), truth.column("row").to_numpy())
    assert rows.take(untouched).equals(clean.take(untouched))
    easy, _ = whole(data_type, 2_000, violation_rate=0, hard_cases=False)
    assert easy.column("record_id").equals(clean.column("record_id"))
    assert not easy.equals(clean)
    assert whole(data_type, 500, violation_rate=1)[1].column("row").unique().to_pylist() == list(range(500))


def test_diagnoses_and_ages_make_costs():
    """There is something to learn: costs differ by diagnosis, and rise with age within each of the common ones."""
    rows, _ = whole("healthcare")
    table = rows.select(["diagnosis", "age", "treatment_cost"]).to_pandas()
    medians = table.groupby("diagnosis")["treatment_cost"].median()
    assert medians["C50"] > 10 * medians["J45"]
    old = table["age"] >= 65
    for diagnosis in ("I10", "E11", "M54"):
        here = table["diagnosis"] == diagnosis
        assert table[here & old]["treatment_cost"].median() > table[here & ~old]["treatment_cost"].median()


def test_speed_and_age_make_pulse():
    """Hearts beat faster for those who run or cycle than for those who rest."""
    rows, _ = whole("iot")
    table = rows.select(["speed", "heart_rate"]).to_pandas()
    assert (
        table[table["speed"].between(10, 25)]["heart_rate"].mean() > table[table["speed"] < 1]["heart_rate"].mean() + 30
    )


def test_codes_come_back():
    """Codes of patients repeat, as people do; codes of encounters never do."""
    rows, _ = whole("healthcare")
    assert len(rows.column("encounter_ref").unique()) == ROWS
    assert len(rows.column("facility_ref").unique()) <= 300
    assert all(len(code) == 12 for code in rows.column("patient_ref").slice(0, 50).to_pylist())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("weather", 1, 1), "no data type 'weather' (there are: healthcare"),
        (("iot", -1, 1), "0 or more"),
        (("iot", 1, -1), "0 or more"),
    ],
)
def test_bad_arguments(arguments, part):
    """Each is one clear error, raised at the call and not at the first block."""
    with pytest.raises(InputError) as caught:
        generate(*arguments)
    assert part in str(caught.value)


def test_no_rows():
    """Nothing asked for, nothing made."""
    assert list(generate("iot", 0, 1)) == []
