"""Storm as an arm of RQ-1: the same rows or nothing, times of the transport, and a reason where it cannot run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.made_up import made_up
from microflow.anonymize.tokenization import KEY_VARIABLE
from microflow.engine.contract import ProcessingSpec
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.errors import MicroflowError, SetupError
from microflow.experiments import storm
from microflow.experiments.work import throughput
from microflow.lab.experiment import PROFILES
from microflow.lab.results import Progress, Results, Skipped, run_experiment
from microflow.lab.trials import Planned
from microflow.schema import Record
from microflow.storm.local import StormTrial
from microflow.storm.shell import Acks

WORK = {"data_type": "healthcare", "method": {"method": "tokenization"}, "rows": 1_300, "seed": 4}
STORM = WORK | {"engine": "storm", "topology": "stream", "paced": 40, "load": 200}
HERE = WORK | {"engine": "local", "pipeline": "stream", "passes": 1, "released_alike": True}
WHOLE = StormTrial(
    "microflow-stream", 1_300, 1_300, True, 5e4, Acks(np.arange(1_260) * 10, np.arange(40), np.arange(40)), 1
)


@pytest.fixture(autouse=True)
def own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial sets the key of its process, which must not outlive the test."""
    monkeypatch.setenv(KEY_VARIABLE, "0" * 64)


def carried(outcome: StormTrial, *, spoilt: bool = False) -> Callable[..., StormTrial]:
    """Instead of Storm: the bolts, and their results as JSON in the order of a transport that overtakes."""

    def storm_trial(
        folder: Path, spec: ProcessingSpec, schema: str, policy: str, records: list[Record], **_: Any
    ) -> StormTrial:
        compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
        done = [anonymize(compliance(ordinal, record)) for ordinal, record in enumerate(records)]
        lines = [{"ordinal": one.ordinal, "record": one.record, "violations": one.violations} for one in done[::-1]]
        if spoilt:
            lines[0]["record"] = lines[1]["record"]
        (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return outcome

    return storm_trial


@pytest.mark.parametrize("profile", PROFILES)
def test_all_arms_have_the_same_rows_and_the_burst_is_long_enough(profile: str) -> None:
    """Checksums of data are compared within a block; every slice of the burst has records."""
    arms = storm.matrix(profile).arms
    assert len({arm.config["rows"] for arm in arms}) == 1
    for arm in arms:
        assert arm.config["rows"] - arm.config.get("paced", 0) > 100


def test_rows_over_the_transport_have_the_checksums_of_the_engine_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over JSON and in another order it is the same release; one row that is another's is not."""
    monkeypatch.setattr("microflow.storm.local.storm_trial", carried(WHOLE))
    found, here = storm.trial(STORM), throughput(HERE)
    for name in ("data_checksum", "output_checksum", "violations"):
        assert found[name] == here[name]
    assert found["samples"] == [10.0] * 12
    assert len(found["latency_ns"]) == 40
    monkeypatch.setattr("microflow.storm.local.storm_trial", carried(WHOLE, spoilt=True))
    assert storm.trial(STORM)["output_checksum"] != here["output_checksum"]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (replace(WHOLE, equal=False), "not the in-process run's"),
        (replace(WHOLE, rows_out=1_299), "not the in-process run's"),
        (replace(WHOLE, starts=2), "disturbed"),
        (replace(WHOLE, acks=replace(WHOLE.acks, burst_ns=np.arange(1_259))), "disturbed"),
    ],
)
def test_nothing_is_returned_of_another_answer_or_a_disturbed_run(
    outcome: StormTrial, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not returned cannot be recorded."""
    monkeypatch.setattr("microflow.storm.local.storm_trial", carried(outcome))
    with pytest.raises(MicroflowError, match=message):
        storm.trial(STORM)


def carried_by_storm() -> Results:
    """Stream takes twice the batch's time, Storm two hundred times; of its latencies 1 in 100 is 50 ms."""
    cost = {"batch": 5e3, "stream": 1e4}

    def result(turn: Planned) -> dict[str, object]:
        samples = [cost.get(turn.arm.name, 1e6) * (1 + turn.block / 100)] * 12
        return {"samples": samples, "latency_ns": [2e6] * 98 + [50e6] * 2, "data_checksum": "a"}

    return made_up(storm.matrix("paper"), result)


def test_rates_ratios_and_latencies_are_those_of_the_trials() -> None:
    """Ratios are paired by block, so what all arms of a block share is not noise; in process there is no latency."""
    results = carried_by_storm()
    rows = {row["arm"]: row for row in storm.frame(results).to_dict("records")}
    found = rows["Storm stream"]
    times = 1e6 * (1 + np.arange(results.matrix.blocks) / 100)
    assert found["rate"] == pytest.approx(1e9 / np.exp(np.log(times).mean()))
    assert found["low"] < found["rate"] < found["high"]
    assert found["over_stream"].value == pytest.approx(100)
    assert found["over_stream"].low == pytest.approx(100)
    assert (found["p50_ms"], found["p99_ms"]) == (2.0, 50.0)
    assert np.isnan(rows["stream"]["p50_ms"])


def test_without_jars_the_reason_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's cell shows it; the store is not even asked."""

    def no_jars(_: str) -> list[Path]:
        raise SetupError("Maven is needed to fetch storm", hint="install Maven")

    monkeypatch.setattr("microflow.jvm.jars", no_jars)
    monkeypatch.setattr("microflow.jvm.find_java", lambda: Path("java"))
    skipped = run_experiment(storm.STORM, "smoke", None)
    assert isinstance(skipped, Skipped)
    assert skipped._repr_html_().endswith("Maven is needed to fetch storm (install Maven)")


def test_a_storm_that_will_not_start_is_skipped_and_a_wrong_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine lacks is no reason to fail; what came out wrong is."""

    def ends(error: Exception) -> Callable[..., Progress]:
        def run_matrix(*_: Any, **__: Any) -> Progress:
            raise error

        return run_matrix

    there = replace(storm.STORM, missing=str)
    monkeypatch.setattr("microflow.lab.results.run_matrix", ends(SetupError("the Storm topology kept dying")))
    assert run_experiment(there, "smoke", None) == Skipped("rq1-storm", "the Storm topology kept dying")
    with pytest.raises(SetupError):
        run_experiment(replace(there, optional=False), "smoke", None)
    monkeypatch.setattr("microflow.lab.results.run_matrix", ends(MicroflowError("Storm's rows are not ours")))
    with pytest.raises(MicroflowError, match="rows are not ours"):
        run_experiment(there, "smoke", None)


@pytest.mark.timeout(120)
def test_real_storm_releases_what_the_engine_in_process_does(needs_jars: Callable[[str], None]) -> None:
    """One trial of the smallest size: equal checksums, a rate from every slice, a latency for every paced record."""
    needs_jars("storm")
    config = storm.matrix("smoke").arms[-1].config | {"seed": 4}
    found, here = storm.trial(config), throughput(HERE | {"rows": config["rows"]})
    assert (found["data_checksum"], found["output_checksum"]) == (here["data_checksum"], here["output_checksum"])
    assert len(found["latency_ns"]) == config["paced"]
    assert min(found["latency_ns"]) > 0
    assert min(found["samples"]) > 0
