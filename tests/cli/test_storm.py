"""``microflow storm``: what it prints is what came out of Storm, and another answer ends with status 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from microflow.cli import cli
from microflow.cli import demonstrations as command
from microflow.storm.local import StormTrial
from microflow.storm.shell import Acks

DUE = np.arange(100) * 1_000_000
TRIAL = StormTrial(
    topology="microflow-one-bolt",
    rows_in=1_600,
    rows_out=1_600,
    equal=True,
    in_process_rate=50_000.0,
    acks=Acks(np.arange(1_500) * 500_000, DUE, DUE + np.repeat([3_000_000, 20_000_000], [98, 2])),
    starts=1,
)


def printed(outcome: StormTrial, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit status and output of a run with this outcome instead of Storm's."""

    def storm_trial(*_: Any, **given: Any) -> StormTrial:
        assert given["topology"].name == "microflow-one-bolt"
        assert len(given["schedule"]) > 0
        return outcome

    monkeypatch.setattr(command, "storm_trial", storm_trial)
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "0" * 64)
    done = CliRunner().invoke(cli, ["storm", "run", "--topology", "one-bolt", "--rows", "10", "--load", "50"])
    return done.exit_code, done.output


def test_rate_and_latency_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuples a second of the burst, p50 and p99 of what came on a schedule, and the load it came at."""
    status, output = printed(TRIAL, monkeypatch)
    assert status == 0
    assert "2,000 tuples/s" in output
    assert "p50 3.0 ms, p99 20.0 ms from due to acknowledged, at 50 records/s" in output


@pytest.mark.parametrize("outcome", [replace(TRIAL, equal=False), replace(TRIAL, rows_out=1_599)])
def test_another_answer_ends_with_status_1(outcome: StormTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make storm` fails with it."""
    assert printed(outcome, monkeypatch)[0] == 1


@pytest.mark.parametrize("topology", ["stream", "one-bolt"])
def test_flux_is_printed_for_both_topologies(topology: str) -> None:
    """YAML and nothing else, so that it can be piped into a file."""
    done = CliRunner().invoke(cli, ["storm", "flux", topology, "/srv/job.json", "--python", "/opt/python"])
    document = yaml.safe_load(done.output)
    assert document["name"] == f"microflow-{topology}"
    assert document["spouts"][0]["constructorArgs"][0] == [
        "/opt/python", "-m", "microflow.storm.shell", "records", "/srv/job.json",
    ]  # fmt: skip


def test_a_machine_without_maven_goes_without_storm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The set-up says what will be skipped and why, and is not stopped by it."""
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    monkeypatch.setattr("microflow.jvm.shutil.which", lambda _: None)
    done = CliRunner().invoke(cli, ["storm", "fetch"])
    assert done.exit_code == 0
    assert "will be skipped: Maven is needed" in done.output
