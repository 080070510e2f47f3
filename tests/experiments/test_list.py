"""Every experiment is sound by its contract, and there is one list of them."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

from microflow.errors import MicroflowError
from microflow.experiments import NOTEBOOKS, all_experiments, experiment_named, select
from microflow.figures.catalogue import drawing_of
from microflow.lab.experiment import PREVIEWS, PROFILES, Experiment, Precision

EACH = pytest.mark.parametrize("one", all_experiments(), ids=lambda one: one.name)


@EACH
@pytest.mark.parametrize("profile", PROFILES)
def test_every_target_exists(one: Experiment, profile: str) -> None:
    """Each cell names a function that can be called, no two cells share a hash, and the matrix bears the name."""
    matrix = one.matrix(profile)
    assert matrix.experiment == one.name
    assert len(matrix.cells()) == len(matrix.arms) * matrix.blocks
    for arm in matrix.arms:
        module, _, name = arm.target.partition(":")
        assert callable(getattr(import_module(module), name))


@EACH
def test_every_experiment_says_what_it_asks_shows_and_keeps(one: Experiment) -> None:
    """A question, a notebook that is there, a drawing that draws, and something that must come out again."""
    assert one.asks.endswith("?")
    assert one.notebook in NOTEBOOKS
    assert "data_checksum" in one.same
    if one.plot is not None:
        assert callable(drawing_of(one.plot))
        assert one.plot.caption.endswith(".")


def test_names_tables_and_figures_are_told_apart() -> None:
    """Files are named after them."""
    every = all_experiments()
    for names in (
        [one.name for one in every],
        [table for one in every for table in one.tables],
        [one.plot.name for one in every if one.plot],
    ):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["rq1-throughput", "rq2-speed", "contamination"])
def test_a_paper_wishes_for_a_precision_and_a_preview_does_not(name: str) -> None:
    """In print a pilot decides, and its reference is there in every group of arms; minutes have a fixed number."""
    paper = experiment_named(name).matrix("paper")
    assert isinstance(paper.precision, Precision)
    assert 5 < paper.blocks < paper.precision.most
    groups = {arm.name.rpartition(": ")[0] for arm in paper.arms}
    assert {(group, paper.precision.reference) for group in groups} <= {
        (arm.name.rpartition(": ")[0], arm.name.rpartition(": ")[2]) for arm in paper.arms
    }
    for profile in PREVIEWS:
        assert experiment_named(name).matrix(profile).precision is None


def test_the_words_about_repetitions_are_those_of_the_matrix() -> None:
    """Blocks and widths in prose are generated, so that they cannot drift."""
    matrix = replace(
        experiment_named("rq1-throughput").matrix("paper"), blocks=7, precision=Precision(0.03, "batch", 9)
    )
    assert matrix.repetitions.startswith("7 blocks as a pilot")
    assert "9 in all" in matrix.repetitions
    assert "±3%" in matrix.repetitions


def test_spark_is_not_in_the_one_core_family() -> None:
    """Per core, and whole jobs: nowhere else."""
    with_spark = {
        one.name for one in all_experiments() for arm in one.matrix("paper").arms if arm.config.get("engine") == "spark"
    }
    assert with_spark == {"whole-job"}


def test_the_settings_are_those_of_the_question() -> None:
    """k, with l and t beside it, ε and key lengths; all of them in the quick profile, attacked as well."""
    labels = {arm.config["setting"] for arm in experiment_named("rq2-speed").matrix("quick").arms} - {""}
    assert labels == {
        "k=3", "k=5", "k=10", "k=15", "k=5, l=3", "k=5, t=0.3", "ε=0.1", "ε=0.5", "ε=1", "ε=2", "128 bits", "256 bits",
        "512 bits",
    }  # fmt: skip
    attacked = experiment_named("rq2-privacy").matrix("quick").arms
    assert labels <= {arm.config["setting"] for arm in attacked}
    assert {"stream", "hybrid"} <= {arm.config["pipeline"] for arm in attacked}
    assert experiment_named("rq2-privacy").matrix("paper").blocks >= 20


def test_an_unknown_experiment_is_named() -> None:
    """The hint lists those there are."""
    with pytest.raises(MicroflowError, match=r"'rq9'.*rq1-throughput"):
        select(["rq9"])
