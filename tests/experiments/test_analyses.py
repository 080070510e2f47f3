"""The experiments' analyses say what the trials say, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab.made_up import made_up
from microflow.engine import PIPELINES
from microflow.experiments import detection, experiment_named, load, privacy, speed, whole_job
from microflow.experiments.privacy import bound
from microflow.experiments.privacy import trial as attack
from microflow.experiments.work import throughput as timed
from microflow.lab.report import UNKNOWN, per_cent, pure_or_not, ratio_text, rounded
from microflow.lab.statistics import Estimate, Verdict
from microflow.lab.trials import Planned

TOKENS = {"method": {"method": "tokenization"}, "data_type": "healthcare", "seed": 5}


def test_all_arms_of_a_block_release_the_same_rows() -> None:
    """The checksum is that of the rows: three pipelines agree, another method or one row less does not."""
    base = {**TOKENS, "engine": "local", "rows": 1_500, "passes": 1, "released_alike": True}
    found = {name: timed(base | {"pipeline": name})["output_checksum"] for name in PIPELINES}
    assert len(set(found.values())) == 1
    fewer = timed(base | {"pipeline": "batch", "rows": 1_499})
    other = timed(base | {"pipeline": "batch", "method": {"method": "identity"}})
    assert len({found["batch"], fewer["output_checksum"], other["output_checksum"]}) == 3


def test_rates_and_verdicts_are_those_of_the_trials() -> None:
    """Ten times the time is a tenth of the rate and different; the same time is shown to be equivalent."""
    cost = {"stream": 10_000.0}
    rng = np.random.default_rng(1)

    def result(turn: Planned) -> dict[str, object]:
        own = cost.get(turn.arm.name.partition(": ")[2], 1_000.0)
        return {"samples": list(own * rng.lognormal(0, 0.001, 3)), "data_checksum": turn.arm.config["data_type"]}

    results = made_up(speed.pipeline_matrix("smoke"), result)
    rates = speed.pipeline_frame(results).set_index(["data_type", "arm"])["rate"]
    assert rates["healthcare", "batch"] == pytest.approx(1e6, rel=0.01)
    assert rates["healthcare", "stream"] == pytest.approx(1e5, rel=0.01)
    analysis = speed.analyses(results)["healthcare"]
    assert analysis["stream"].verdict is Verdict.DIFFERENT
    assert analysis["hybrid"].verdict is Verdict.EQUIVALENT
    assert "batch again" not in set(rates.reset_index()["arm"])


def test_a_load_without_latencies_is_left_out_and_a_backlog_is_not_sustained() -> None:
    """Nothing served is not a latency of zero; a growing backlog is marked."""

    def result(turn: Planned) -> dict[str, object]:
        loads = turn.arm.config["loads"]
        p99 = [2e6] * (len(loads) - 1) + [-1.0]
        slope = [0.0] * (len(loads) - 2) + [0.5, 0.9]
        return {"load": loads, "p50_ns": p99, "p99_ns": p99, "slope": slope, "unserved": [0.0] * len(loads)}

    matrix = load.matrix("quick")
    frame = load.frame(made_up(matrix, result))
    loads = matrix.arms[0].config["loads"]
    assert frame["load"].max() == loads[-2]
    assert (frame["p99_ms"] == 2.0).all()
    assert frame.set_index("load")["sustained"].groupby(level=0).all().to_dict() == {
        load: load != loads[-2] for load in loads[:-1]
    }


def test_phases_are_medians_by_arm() -> None:
    """One row an arm, in the matrix's order, in seconds."""
    phases = {"pre": 1.0, "pure": 2.0, "post": 3.0, "residual": 0.5}
    frame = whole_job.frame(made_up(whole_job.matrix("quick"), lambda _: {"samples": [2.0], "phases": phases}))
    assert frame.columns.tolist() == ["arm", "pre_s", "pure_s", "post_s", "residual_s", "shown"]
    assert frame["pure_s"].tolist() == [2.0] * 3


def test_detection_finds_what_was_planted() -> None:
    """A small healthcare trial recalls everything, and its counts survive the way through JSON."""
    found = detection.trial({"data_type": "healthcare", "rows": 1_000, "seed": 2})
    results = made_up(detection.matrix("smoke"), lambda _: found)
    assert (detection.frame(results)["recall"] == 1).all()
    assert sum(one.counts.hits for one in detection.measured(results)) > 50


def test_an_attack_tells_tokens_from_classes() -> None:
    """Tokens leave quasi-identifiers as they are, and the attacker links far more than from classes of ten."""
    base = {**TOKENS, "rows": 400, "attempts": 60, "pipeline": "batch"}
    tokens, classes = attack(base), attack(base | {"method": {"method": "k_anonymity", "k": 10}})
    assert tokens["linkage"]["low"] > classes["linkage"]["high"]
    assert classes["k"] >= 10
    assert classes["loss"] > tokens["loss"]
    settings = privacy.matrix("smoke")
    frame = privacy.frame(made_up(settings, lambda turn: tokens if "bits" in turn.arm.name else classes))
    assert frame["setting"].tolist() == [arm.config["setting"] for arm in settings.arms]
    assert not frame.drop(columns=["kept", "kept_low", "kept_high"]).isna().to_numpy().any()


def test_a_stream_waits_for_company_and_a_file_does_not() -> None:
    """CASTLE keeps a record back, for at most δ later ones; by record nothing is kept; a file has no delay."""
    classes = {**TOKENS, "rows": 600, "attempts": 20, "method": {"method": "k_anonymity", "k": 5, "delta": 100}}
    stream, batch = (attack(classes | {"pipeline": pipeline}) for pipeline in ("stream", "batch"))
    assert 0 < stream["delay_p50"] <= stream["delay_max"] <= 100
    assert stream["k"] >= 5
    assert batch["delay_max"] == 0
    assert attack({**TOKENS, "rows": 50, "attempts": 10, "pipeline": "stream"})["delay_max"] == 0


def test_numbers_are_said_with_three_digits() -> None:
    """What a sentence says is what was measured, rounded."""
    assert rounded(999_499) == "999,000"
    assert per_cent(0.0) == "0 %"


def test_resources_are_said_for_each_record() -> None:
    """CPU seconds, the peak, and the memory that was added, over the rows of the trial."""
    frame = made_up(whole_job.matrix("quick"), lambda _: {"samples": [1.0]}).frame
    assert set(frame["cpu_s"]) == {1.0}
    assert set(frame["peak_rss_bytes"]) == {2**28}
    assert set(frame["bytes_per_record"]) == {2**27 / 20_000}


def evidence(**seen: int) -> dict[str, object]:
    """What the guard wrote of one pass."""
    counted = ("refused", "read_calls", "write_calls", "helper_calls", "helper_events")
    return dict.fromkeys(counted, 0) | {"spans": 3} | seen


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"evidence": []},
        {"evidence": [evidence(spans=0)]},
        {"evidence": [evidence(), evidence(spans=0)]},
        {"evidence": [evidence(read_calls=1)]},
        {"evidence": [evidence(helper_events=1)]},
        {"evidence": [evidence() | {"is_pure": False}]},
    ],
    ids=["none", "empty", "no span", "one pass without", "a read", "a helper", "denied"],
)
def test_without_evidence_nothing_is_called_pure(result: dict[str, object]) -> None:
    """No evidence, no span, or a call: not shown to be pure, in words; with evidence of every pass it is shown."""
    matrix = speed.pipeline_matrix("smoke")
    shown = made_up(matrix, lambda _: {"samples": [1.0] * 3, "evidence": [evidence()]})
    assert pure_or_not(shown) == "every timed span is shown to have touched memory only"
    one = matrix.arms[0].name
    mixed = made_up(matrix, lambda turn: result if turn.arm.name == one else {"evidence": [evidence()]})
    assert pure_or_not(mixed).startswith(f"not shown to be pure: {one}; shown for ")


def test_a_ratio_that_is_hardly_known_is_not_given() -> None:
    """Wider than ±50 %, or of one block: no number."""
    assert ratio_text(Estimate(2.0, 1.0, 4.0)) == UNKNOWN
    assert ratio_text(Estimate(2.0, float("nan"), float("nan"))) == UNKNOWN
    assert ratio_text(Estimate(2.0, 1.5, 2.6)).startswith("2×")


def test_theory_bounds_what_an_attack_may_reach() -> None:
    """1/k; the e^ε of local differential privacy among n; no promise is no bound."""
    assert bound({"method": "k_anonymity", "k": 10}, 100) == 0.1
    assert bound({"method": "differential_privacy", "epsilon": 0.0}, 100) == pytest.approx(0.01)
    assert bound({"method": "differential_privacy", "epsilon": 2.0}, 1_000) == pytest.approx(
        np.exp(2) / (999 + np.exp(2))
    )
    assert bound({"method": "identity"}, 100) == 1


def test_estimates_from_a_private_release_err_as_theory_says() -> None:
    """24 releases of known data: the errors' spread is the mechanism's own, for a mean and for a frequency."""
    base = TOKENS | {"rows": 300, "attempts": 5, "pipeline": "batch"}
    method = {"method": {"method": "differential_privacy", "epsilon": 4.0}}
    ratios: dict[str, list[float]] = {}
    for seed in range(24):
        for one in attack(base | method | {"seed": seed})["aggregates"]:
            ratios.setdefault(one["column"], []).append((one["estimate"] - one["truth"]) / one["theory_sd"])
    assert {"age", "sex"} <= ratios.keys()
    for values in ratios.values():
        assert 0.6 < np.sqrt(np.mean(np.square(values))) < 1.35
        assert abs(np.mean(values)) < 0.6


def test_every_attack_stands_beside_the_others() -> None:
    """What passes gives persons away whatever the method is; an audit shows some of ε, and no more than all of it."""
    base = TOKENS | {"rows": 4_000, "attempts": 200, "pipeline": "batch", "seed": 1}
    tokens = attack(base)
    assert tokens["epsilon_shown"] is None
    noisy = attack(base | {"method": {"method": "differential_privacy", "epsilon": 8.0}})
    assert 0 < noisy["epsilon_shown"] <= 8
    refined = attack(base | {"method": {"method": "k_anonymity", "k": 5, "l_diversity": 3}})
    assert refined["delay_max"] == 0
    for found in (tokens, noisy, refined):
        assert 0 < found["passed"]["risk"] < 1
        assert 0 <= found["inference"]["low"] <= found["inference"]["risk"] <= found["inference"]["high"]


def test_what_is_learnt_needs_twenty_seeds() -> None:
    """Below, the column leaves the table; from there on it has an interval of its own."""
    rate = {"risk": 0.2, "low": 0.1, "high": 0.3}

    def result(turn: Planned) -> dict[str, object]:
        rng = np.random.default_rng(turn.block)
        own = {"linkage": rate, "singling_out": rate, "gcp": 0.3, "k": 5, "suppressed": 2, "aggregates": []}
        return own | {"loss": 0.4, "kept": float(rng.normal(0.5, 0.1)), "delay_p50": 0.0, "delay_max": 0.0}

    few, many = (made_up(privacy.matrix(profile), result) for profile in ("quick", "paper"))
    assert "learnt" not in privacy.table(few).columns
    table = privacy.table(many)
    assert "learnt" in table.columns
    frame = privacy.frame(many)
    assert (frame["kept_high"] - frame["kept_low"]).between(0.01, 0.3).all()
    assert table.rows[0][0] == "identity"
    assert f"n={many.matrix.arms[0].config['rows']:,}" in table.columns[1]
    assert "20 blocks" in table.caption


def test_the_batch_s_latency_is_called_a_fill_time() -> None:
    """At a low load a batch is not slow, it waits for company."""

    def result(turn: Planned) -> dict[str, object]:
        count = len(turn.arm.config["loads"])
        flat = {"p50_ns": [1e6] * count, "p99_ns": [2e6] * count}
        return flat | {"load": turn.arm.config["loads"], "slope": [0.0] * count, "unserved": [0.0] * count}

    sentence = load.answer(made_up(load.matrix("quick"), result)).sentence
    assert "are a fill time" in sentence
    assert "500 ms to arrive" in sentence


def test_settings_have_their_ratio_to_the_identity() -> None:
    """Twice the identity's time is 2 beside it; the table says how keys of 512 bits are computed."""
    matrix = replace(experiment_named("rq2-speed").matrix("paper"), blocks=2, precision=None)

    def result(turn: Planned) -> dict[str, object]:
        own = 1_000.0 if turn.arm.name.endswith(speed.IDENTITY) else 2_000.0
        return {"samples": [own] * 3, "data_checksum": str(turn.arm.config["rows"])}

    table = speed.method_table(made_up(matrix, result))
    rows = {row[0]: row for row in table.rows}
    assert rows["k-anonymity, k=5"][-1].startswith("2×")
    assert rows["identity"][-1] == "1"
    assert "value by value" in table.caption
