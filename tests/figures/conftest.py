"""A made-up but plausible frame for each figure, and a database of made-up trials: drawing measures nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from lab.made_up import launched
from microflow.experiments import all_experiments
from microflow.experiments.controls import HABITS, ORACLE
from microflow.lab.experiment import Matrix
from microflow.lab.results import _record
from microflow.lab.trials import Planned, Trial
from microflow.store.database import create_database, drop_database
from microflow.store.experiments import ExperimentStore

TYPES = ("healthcare", "financial")


def latency() -> pd.DataFrame:
    rows = []
    for data_type in TYPES:
        for arm, base, capacity in (("batch", 40.0, 9e5), ("stream", 0.05, 6e4), ("hybrid", 0.06, 7e5)):
            for load in (1e3, 5e3, 2e4, 5e4, 2e5, 5e5):
                sustained = load < capacity
                p50 = max(base, 400 / load * 1e3 if arm == "batch" else 0) if sustained else 800.0
                p99 = p50 * (2 if sustained else 1.4)
                rows.append((data_type, arm, load, p50, p99, p99 * 0.9, p99 * 1.2, sustained))
    names = ["data_type", "arm", "load", "p50_ms", "p99_ms", "p99_low_ms", "p99_high_ms", "sustained"]
    return pd.DataFrame(rows, columns=names)


def throughput() -> pd.DataFrame:
    arms = (("batch", "batch", 1.5e6), ("stream", "stream", 9e4), ("hybrid", "hybrid", 1.2e6))
    rows = [
        (data_type, arm, look, rate, rate * 0.94, rate * 1.05, 0.04)
        for data_type in TYPES
        for arm, look, rate in (*arms, ("Spark batch", "spark", 7e5), ("identity", "identity", 2.4e6))
    ]
    rows.append((TYPES[0], "Storm stream", "storm", 2_400.0, np.nan, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["data_type", "arm", "look", "rate", "low", "high", "noise_floor"])


def phases() -> pd.DataFrame:
    rows = [("batch", 0.5, 0.3, 0.18, 0.02), ("stream", 0.5, 3.0, 0.4, 0.03), ("hybrid", 0.6, 0.5, 0.2, 0.02)]
    return pd.DataFrame(rows, columns=["arm", "pre_s", "pure_s", "post_s", "residual_s"])


def contamination() -> pd.DataFrame:
    rows = [
        (work, arm, ratio, ratio * 0.9, ratio * 1.15, 0.03)
        for work, weight in (("microflows", 3.0), ("records", 1.0))
        for arm, ratio in (("row insert", 90.0 * weight), ("batch insert", 1.1 * weight), ("checkpoint fsync", 1.02))
    ]
    return pd.DataFrame(rows, columns=["work", "arm", "ratio", "low", "high", "noise_floor"])


def scaling() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for arm, scale, exponent in (("batch", 1e-6, 1.0), ("stream", 1.2e-5, 1.01), ("hybrid", 1.1e-6, 0.98)):
        for count in (10_000, 30_000, 100_000, 300_000):
            seconds = scale * count**exponent * np.exp(rng.normal(0, 0.05))
            rows.append((arm, count, seconds, scale, exponent, exponent - 0.02, exponent + 0.02))
    names = ["arm", "rows", "seconds", "scale", "exponent", "exponent_low", "exponent_high"]
    return pd.DataFrame(rows, columns=names)


def frontier() -> pd.DataFrame:
    rows = [("k_anonymity", f"k={k}", 0.22 / k, 0.05 * np.log2(k)) for k in (3, 5, 10, 15)]
    rows += [("differential_privacy", f"ε={e}", 0.03 * e, 0.9 - 0.35 * e) for e in (0.1, 0.5, 1, 2)]
    rows += [("tokenization", f"{bits} bits", 0.83, 0.0) for bits in (128, 256, 512)]
    frame = pd.DataFrame(rows, columns=["method", "setting", "risk", "loss"])
    return frame.assign(
        risk_low=frame["risk"] - 0.02, risk_high=frame["risk"] + 0.02,
        loss_low=frame["loss"] - 0.01, loss_high=frame["loss"] + 0.01,
    )  # fmt: skip


def accuracy() -> pd.DataFrame:
    rules = ("name", "ssn", "zip", "age", "text-ssn", "text-email", "text-date")
    recall = np.linspace(0.9990, 1, len(rules))
    frame = pd.DataFrame({"rule": [f"hipaa-{name}" for name in rules]}).assign(
        recall=recall, recall_low=recall - 0.0009, recall_high=1.0,
        precision=1 - (1 - recall) / 2, precision_low=recall - 0.001, precision_high=1.0,
    )  # fmt: skip
    both = frame.assign(regulation=["PCI DSS", "GDPR"] + ["PCI DSS"] * (len(rules) - 2))
    kinds = {"healthcare": frame.assign(regulation="HIPAA"), "financial": both}
    return pd.concat([own.assign(data_type=data_type) for data_type, own in kinds.items()], ignore_index=True)


def burst() -> pd.DataFrame:
    times = np.arange(0, 4, 0.05)
    offered = np.where((times > 1) & (times < 2), 2e5, 2e4)
    rows = []
    for arm, calm, busy in (("batch", 50.0, 8.0), ("stream", 0.06, 900.0), ("hybrid", 0.08, 4.0)):
        p99 = np.where(offered > 1e5, busy, calm)
        rows.append(pd.DataFrame({"time_s": times, "offered": offered, "p99_ms": p99}).assign(arm=arm))
    return pd.concat(rows).assign(size=lambda frame: np.where(frame["offered"] > 1e5, 600, 1))


def effort() -> pd.DataFrame:
    rows = [
        (columns, 5, effort, base * effort, 0.05 / effort**0.1, arx_loss, arx_seconds)
        for columns, base, arx_loss, arx_seconds in ((6, 0.4, 0.02, 0.41), (8, 2.1, 0.054, 2.9))
        for effort in (1, 2, 4, 8)
    ]
    rows.append((8, 50, 1, 4.7, 0.15, 0.158, np.nan))
    return pd.DataFrame(rows, columns=["columns", "k", "effort", "seconds", "loss", "arx_loss", "arx_seconds"])


FRAMES = {
    "latency": latency,
    "throughput": throughput,
    "phases": phases,
    "contamination": contamination,
    "scaling": scaling,
    "frontier": frontier,
    "accuracy": accuracy,
    "burst": burst,
    "effort": effort,
}


@pytest.fixture(params=FRAMES)
def figure_and_frame(request: pytest.FixtureRequest) -> tuple[str, pd.DataFrame]:
    """Each figure's module name with its made-up frame."""
    return request.param, FRAMES[request.param]()


@pytest.fixture
def accuracy_frame() -> pd.DataFrame:
    """Rules of one regulation in the first panel, of two in the second."""
    return accuracy()


def outcome(turn: Planned) -> dict[str, object]:
    """What a trial of this turn could have returned: one result with the names of every kind of trial."""
    config, rng = turn.arm.config, np.random.default_rng(turn.block)
    loads, slices = config.get("loads", []), np.arange(0, 1, 0.05)
    cost = {"stream": 9.0, "hybrid": 1.1}.get(config.get("pipeline", ""), 1.0) * config.get("rows", 1)
    counts = {"hits": 90, "false_alarms": 0, "misses": 1}
    rate = {"risk": 0.2, "low": 0.1, "high": 0.3}
    advised = {"max_risk": 0.09, "min_utility": 0.0, "holds": True, "declined": False, "regret": 0.02}
    return {
        "samples": list(cost * rng.lognormal(0, 0.05, 3)),
        "rules": [
            {"data_type": config.get("data_type"), "regulation": "HIPAA", "rule": "hipaa-name", "counts": counts}
        ],
        "phases": {"pre": 0.4, "pure": 0.3, "post": 0.2, "residual": 0.01},
        "load": list(map(float, loads)),
        **{name: [1e6] * len(loads) for name in ("p50_ns", "p999_ns")},
        **{name: [0.0] * len(loads) for name in ("slope", "unserved")},
        "latency_ns": [3e6, 3e6, 9e6],
        "mean_ns": dict.fromkeys((*HABITS, ORACLE), 1e6), "left_over": 0,
        "rate": 1e5, "bounded": True, "capacity": 2e5, "aggregates": [], "epsilon_shown": None,
        "action_s": [[0.5 + 1e-5 * rows] for rows in config.get("volumes", [])],
        "p99_ns": [2e6] * (len(loads) or len(slices)),
        "time_s": slices.tolist(), "offered": [1e4] * len(slices), "size": [5.0] * len(slices),
        **dict.fromkeys(("linkage", "singling_out", "passed", "inference", "membership"), rate),
        "loss": 0.4, "gcp": 0.3, "kept": 0.5, "k": 5, "suppressed": 2,
        "delay_p50": 0.0, "delay_max": 0.0,
        "pairs": [{"file": name, **advised} for name in config.get("files", [])], "cpu_seconds": 9.0, "sampled": 2_000,
    }  # fmt: skip


def record(matrix: Matrix, store: ExperimentStore) -> None:
    """Put made-up trials of every cell into the database."""
    for turn in matrix.cells().values():
        _record(store, matrix.experiment, Trial(turn, launched(outcome(turn))), {"blocks": matrix.blocks})


@pytest.fixture(scope="session")
def complete_store(database_url: str) -> Iterator[ExperimentStore]:
    """A database in which every question of the smallest profile has run."""
    name = f"microflow_test_{uuid.uuid4().hex[:12]}"
    with ExperimentStore(create_database(database_url, name)) as store:
        for one in all_experiments():
            record(one.matrix("smoke"), store)
        yield store
    drop_database(database_url, name)
