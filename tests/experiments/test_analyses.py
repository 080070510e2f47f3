"""The questions' matrices are sound on every profile, and their analyses say what the trials say."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from microflow.experiments.privacy_utility import frontier_frame
from microflow.experiments.privacy_utility import trial as attack

from microflow.experiments import contamination, detection, rq1, rq2, scalability, timing_separation, whole_job
from microflow.experiments.work import throughput
from microflow.lab.experiment import PROFILES, Matrix
from microflow.lab.launch import Launch
from microflow.lab.machine import Machine
from microflow.lab.report import per_cent, rounded
from microflow.lab.results import Results
from microflow.lab.statistics import Verdict
from microflow.lab.trials import Planned, Trial
from microflow.timing.resources import ResourceUsage

QUESTIONS = (timing_separation, rq1, rq2, scalability)
TOKENS = {"method": {"method": "tokenization"}, "data_type": "healthcare", "seed": 5}


def made_up(matrix: Matrix, result_of: object) -> Results:
    """Results of a matrix with known outcomes instead of measured ones."""
    usage = ResourceUsage(1.0, 1.0, 2**28, 2**27)
    trials = [Trial(turn, Launch(result_of(turn), Machine.here(), 0, 0, usage)) for turn in matrix.cells().values()]
    return Results(matrix, tuple(trials))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_target_exists(question: ModuleType, profile: str) -> None:
    """Each cell names a function that can be called, and no two cells share a hash."""
    for matrix in question.matrices(profile):
        assert matrix.cells()
        for arm in matrix.arms:
            module, _, name = arm.target.partition(":")
            assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("matrix", [rq1.throughput, rq2.speed, contamination.matrix], ids=["rq1", "rq2", "penalty"])
def test_a_paper_asks_for_a_precision_and_a_quick_run_does_not(matrix: Callable[[str], Matrix]) -> None:
    """In print a pilot decides, and its reference is there in every group of arms; minutes have a fixed number."""
    paper = matrix("paper")
    assert paper.precision is not None
    assert 5 < paper.blocks < paper.precision.most
    groups = {arm.name.rpartition(": ")[0] for arm in paper.arms}
    assert {(group, paper.precision.reference) for group in groups} <= {
        (arm.name.rpartition(": ")[0], arm.name.rpartition(": ")[2]) for arm in paper.arms
    }
    assert matrix("quick").precision is matrix("smoke").precision is None


def test_the_eleven_settings_are_those_of_the_question() -> None:
    """k = 3, 5, 10, 15; ε = 0.1, 0.5, 1, 2; 128, 256 and 512 bits; all of them in the quick profile."""
    assert len(rq2.SETTINGS) == 11
    quick = {arm.config["setting"] for arm in rq2.speed("quick").arms} - {""}
    assert quick == {one.label for one in rq2.SETTINGS}


def test_all_arms_of_a_block_release_the_same_rows() -> None:
    """The checksum is that of the rows: three pipelines agree, another method or one row less does not."""
    base = {**TOKENS, "engine": "local", "rows": 1_500, "passes": 1, "released_alike": True}
    found = {name: throughput(base | {"pipeline": name})["output_checksum"] for name in rq1.PIPELINES}
    assert len(set(found.values())) == 1
    fewer = throughput(base | {"pipeline": "batch", "rows": 1_499})
    other = throughput(base | {"pipeline": "batch", "method": {"method": "identity"}})
    assert len({found["batch"], fewer["output_checksum"], other["output_checksum"]}) == 3


def test_rates_and_verdicts_are_those_of_the_trials() -> None:
    """Ten times the time is a tenth of the rate and said to be higher; the same time is said to be no difference."""
    cost = {"stream": 10_000.0}
    rng = np.random.default_rng(1)

    def result(turn: Planned) -> dict[str, object]:
        own = cost.get(turn.arm.name.partition(": ")[2], 1_000.0)
        return {"samples": list(own * rng.lognormal(0, 0.001, 3)), "data_checksum": turn.arm.config["data_type"]}

    results = made_up(rq1.throughput("quick"), result)
    rates = rq1.throughput_frame(results).set_index(["data_type", "arm"])["rate"]
    assert rates["healthcare", "batch"] == pytest.approx(1e6, rel=0.01)
    assert rates["financial", "stream"] == pytest.approx(1e5, rel=0.01)
    analysis = rq1.analyses(results)["healthcare"]
    assert analysis["stream"].verdict is Verdict.HIGHER
    assert analysis["hybrid"].verdict is Verdict.NONE
    assert "batch again" not in set(rates.reset_index()["arm"])


def test_a_load_without_latencies_is_left_out_and_a_backlog_is_not_sustained() -> None:
    """Nothing served is not a latency of zero; a growing backlog is marked."""

    def result(turn: Planned) -> dict[str, object]:
        loads = turn.arm.config["loads"]
        p99 = [2e6] * (len(loads) - 1) + [-1.0]
        slope = [0.0] * (len(loads) - 2) + [0.5, 0.9]
        return {"load": loads, "p50_ns": p99, "p99_ns": p99, "slope": slope, "unserved": [0.0] * len(loads)}

    matrix = rq1.latency("quick")
    frame = rq1.latency_frame(made_up(matrix, result))
    loads = matrix.arms[0].config["loads"]
    assert frame["load"].max() == loads[-2]
    assert (frame["p99_ms"] == 2.0).all()
    assert frame.set_index("load")["sustained"].groupby(level=0).all().to_dict() == {
        load: load != loads[-2] for load in loads[:-1]
    }


def test_the_exponent_of_a_linear_pipeline_is_one() -> None:
    """Proportional times give an exponent of 1 with a narrow interval; pipelines keep their order."""
    results = made_up(scalability.volumes("quick"), lambda turn: {"samples": [2e-6 * turn.arm.config["rows"]]})
    frame = scalability.scaling_frame(results)
    assert list(frame["arm"].unique()) == ["batch", "stream", "hybrid"]
    assert frame["exponent"].to_numpy() == pytest.approx(1.0)


def test_phases_are_medians_by_arm() -> None:
    """One row an arm, in the matrix's order, in seconds."""
    phases = {"pre": 1.0, "pure": 2.0, "post": 3.0, "residual": 0.5}
    frame = whole_job.phases(made_up(whole_job.matrix("quick"), lambda _: {"samples": [2.0], "phases": phases}))
    assert frame.columns.tolist() == ["arm", "pre_s", "pure_s", "post_s", "residual_s"]
    assert frame["pure_s"].tolist() == [2.0] * 3


def test_detection_finds_what_was_planted() -> None:
    """A small healthcare trial recalls everything, and its counts survive the way through JSON."""
    found = detection.trial({"data_type": "healthcare", "rows": 1_000, "seed": 2})
    results = made_up(detection.matrix("smoke"), lambda _: found)
    assert (detection.detection_frame(results)["recall"] == 1).all()
    assert sum(one.counts.hits for one in detection.measured(results)) > 50


def test_an_attack_tells_tokens_from_classes() -> None:
    """Tokens leave quasi-identifiers as they are, and the attacker links far more than from classes of ten."""
    base = {**TOKENS, "rows": 400, "attempts": 60, "pipeline": "batch"}
    tokens, classes = attack(base), attack(base | {"method": {"method": "k_anonymity", "k": 10}})
    assert tokens["linkage"]["low"] > classes["linkage"]["high"]
    assert classes["k"] >= 10
    assert classes["loss"] > tokens["loss"]
    settings = rq2.privacy("smoke")
    frame = frontier_frame(made_up(settings, lambda turn: tokens if "bits" in turn.arm.name else classes))
    assert frame["setting"].tolist() == [arm.config["setting"] for arm in settings.arms]
    assert not frame.drop(columns="kept").isna().to_numpy().any()


def test_a_stream_waits_for_company_and_a_file_does_not() -> None:
    """CASTLE keeps a record back, for at most δ later ones; by record nothing is kept; a file has no delay."""
    classes = {**TOKENS, "rows": 600, "attempts": 20, "method": {"method": "k_anonymity", "k": 5, "delta": 100}}
    stream, batch = (attack(classes | {"pipeline": pipeline}) for pipeline in ("stream", "batch"))
    assert 0 < stream["delay_p50"] <= stream["delay_max"] <= 100
    assert stream["k"] >= 5
    assert batch["delay_max"] == 0
    assert attack({**TOKENS, "rows": 50, "attempts": 10, "pipeline": "stream"})["delay_max"] == 0


def test_every_volume_has_a_reference_of_its_own() -> None:
    """Speeds at two volumes are compared with the identity at each, and the home of a setting is the first volume."""
    matrix = rq2.speed("quick")
    cost = {"identity": 1_000.0}

    def result(turn: Planned) -> dict[str, object]:
        own = cost.get(turn.arm.name.rpartition(": ")[2], 2_000.0 if turn.arm.config["rows"] == 10_000 else 4_000.0)
        return {"samples": [own] * 3, "data_checksum": str(turn.arm.config["rows"])}

    speeds = rq2.speed_frame(made_up(matrix, result))
    assert len(speeds) == len(matrix.arms)
    assert speeds[speeds["method"] == "identity"]["rate"].tolist() == pytest.approx([1e6, 1e6])
    at_home = pd.DataFrame({"method": ["tokenization", "k_anonymity_stream"], "setting": ["128 bits", "k=5"]})
    assert rq2.methods_frame(speeds, at_home)["rate"].tolist() == pytest.approx([5e5, 5e5])


def test_numbers_are_said_with_three_digits() -> None:
    """What a sentence says is what was measured, rounded."""
    assert rounded(999_499) == "999,000"
    assert per_cent(0.0) == "0 %"


def test_resources_are_said_for_each_record() -> None:
    """CPU seconds, the peak, and the memory that was added, over the rows of the trial."""
    frame = made_up(whole_job.matrix("quick"), lambda _: {"samples": [1.0]}).frame
    assert set(frame["cpu_s"]) == {1.0}
    assert set(frame["peak_rss_bytes"]) == {2**28}
    assert set(frame["bytes_per_record"]) == {2**27 / 30_000}
