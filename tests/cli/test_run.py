"""``microflow run`` as a user types it: in a process of its own, on files of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pycanon.anonymity
import pytest

from microflow.datasets import generate

ROWS = 2_500


def microflow(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "microflow", *(str(word) for word in words)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "visits.parquet"
    blocks = [pd.DataFrame(block.rows.to_pandas()) for block in generate("healthcare", ROWS, 3)]
    pd.concat(blocks).to_parquet(path, index=False)
    return path


def test_adult_is_five_anonymous_and_every_row_accounted_for(adult_csv: Path, tmp_path: Path) -> None:
    """Our own verify and pycanon agree; released + suppressed + quarantined are the rows of the file."""
    out, metrics = tmp_path / "out.csv", tmp_path / "metrics.json"
    words = ["--schema", "adult", "--method", "k_anonymity", "--k", 5, "--metrics", metrics, "--no-database"]
    done = microflow("run", adult_csv, out, "--pipeline", "batch", *words)
    assert done.returncode == 0, done.stderr
    counted = json.loads(metrics.read_text())["processing_metrics"]
    assert counted["released"] + counted["suppressed"] + counted["quarantined"] == 32_561
    released = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert len(released) == counted["released"]
    names = ["age", "education", "marital-status", "race", "sex", "native-country"]
    assert pycanon.anonymity.k_anonymity(released, names) >= 5
    assert microflow("verify", out, "--schema", "adult", "--k", 5).returncode == 0
    refused = microflow("verify", out, "--schema", "adult", "--k", 5_000)
    assert refused.returncode == 1
    assert f"{pycanon.anonymity.k_anonymity(released, names)} row" in refused.stdout


@pytest.mark.parametrize(
    ("pipeline", "method"),
    [
        ("batch", "tokenization"),
        ("batch", "differential_privacy"),
        ("stream", "k_anonymity"),
        ("stream", "tokenization"),
        ("hybrid", "k_anonymity"),
    ],
)
def test_pipelines_with_methods(pipeline: str, method: str, visits: Path, tmp_path: Path) -> None:
    """The command works for pairs of both, and its counts add up."""
    out, metrics = tmp_path / "out.csv", tmp_path / "metrics.json"
    done = microflow(
        "run", visits, out, "--pipeline", pipeline, "--schema", "healthcare", "--method", method,
        "--metrics", metrics, "--no-database", MICROFLOW_TOKEN_KEY=secrets.token_hex(32),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(metrics.read_text())
    counted = document["processing_metrics"]
    assert counted["total_records"] == ROWS == counted["released"] + counted["suppressed"]
    assert len(pd.read_csv(out)) == counted["released"]
    assert document["research_benefits"]["timing_contamination"]["is_pure"]
    assert done.stderr == "", "a pipe gets no progress bar"


def test_a_job_in_the_database_can_be_seen_from_another_process(
    visits: Path, tmp_path: Path, database_url: str
) -> None:
    """The default way stores the job and its counts, and no personal value."""
    words = ["--schema", "healthcare", "--method", "k_anonymity", "--job", "seen"]
    assert microflow("run", visits, tmp_path / "out.csv", *words, DATABASE_URL=database_url).returncode == 0
    assert f"{ROWS:,} rows" in microflow("job", "seen", DATABASE_URL=database_url).stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["missing.csv", "out.csv", "--schema", "adult", "--method", "k_anonymity"], "missing.csv"),
        (["in.csv", "out.xlsx", "--schema", "adult", "--method", "k_anonymity"], "known are"),
        (["in.csv", "out.csv", "--schema", "nosuch", "--method", "k_anonymity"], "shipped schemas are"),
        (["in.csv", "out.csv", "--schema", "adult", "--method", "magic"], "k_anonymity"),
        (["in.csv", "out.csv", "--schema", "adult", "--method", "tokenization"], "MICROFLOW_TOKEN_KEY"),
        (["in.csv", "out.csv", "--schema", "healthcare", "--method", "k_anonymity"], "record_id"),
    ],
)
def test_mistakes_end_with_status_two_and_one_clear_line(words: list[str], named: str, tmp_path: Path) -> None:
    """No traceback; the message names what was wrong or what would be right; nothing appears."""
    (tmp_path / "in.csv").write_text("age,sex\n1,F\n")
    command = [sys.executable, "-m", "microflow", "run", *words, "--no-database"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MICROFLOW_TOKEN")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60, check=False)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_no_artefact_of_a_run_holds_a_personal_value(visits: Path, tmp_path: Path) -> None:
    """Every name, number and address that leaked into the input is searched in everything the run left behind."""
    key = secrets.token_hex(32)
    words = ["--schema", "healthcare", "--method", "tokenization", "--metrics", tmp_path / "m.json", "--no-database"]
    done = microflow("run", visits, tmp_path / "out.csv", *words, MICROFLOW_TOKEN_KEY=key)
    artefacts = [file.read_text("utf-8") for file in tmp_path.iterdir()] + [done.stdout, done.stderr]
    planted = pd.read_parquet(visits)
    fields = ["patient_ref", "provider_ref", "encounter_ref", "patient_name", "ssn", "phone", "email", "mrn"]
    personal = {value for name in fields for value in planted[name].dropna() if set(value) - set("*X-")}
    assert len(personal) > ROWS
    for text in artefacts:
        assert key not in text
        assert not [value for value in personal if value in text]


def test_every_setting_of_k_anonymity_is_reached(visits: Path, tmp_path: Path) -> None:
    """Short names too; what was achieved stands in the metrics document and on the screen."""
    out, metrics = tmp_path / "out.csv", tmp_path / "metrics.json"
    words = ["--schema", "healthcare", "--method", "k_anonymity", "--no-database", "--metrics", metrics]
    asked = ["--k", 4, "--l", 2, "--l-entropy", "--t", "0.9", "--suppress", "2%", "--effort", 2]
    done = microflow("run", visits, out, *words, *asked)
    assert done.returncode == 0, done.stderr
    document = json.loads(metrics.read_text())
    settings = {"k": 4, "l_diversity": 2, "l_entropy": True, "t_closeness": 0.9, "suppress": 0.02, "effort": 2}
    assert settings.items() <= document["method"].items()
    assert document["method"]["scope"] == "dataset"
    achieved = document["verdict"]["achieved"]
    assert achieved["achieved_k"] >= 4
    assert min(achieved["achieved_l"].values()) >= 2 - 1e-9
    assert max(achieved["achieved_t"].values()) <= 0.9
    assert f"achieved: k = {achieved['achieved_k']} {achieved['unit']}s, the least of" in done.stdout
    wrong = microflow("run", visits, out, *words, "--overwrite", "--suppress", "much")
    assert wrong.returncode == 2
    assert "no share of rows" in wrong.stderr
    everything = microflow("run", "--help").stdout
    assert all(
        name in everything for name in ("--l,", "--t,", "--l-entropy", "--l-recursive", "--suppress", "--effort")
    )
