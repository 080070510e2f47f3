"""All schedulers give the same bytes, quarantine and counts, however the input is cut."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from microflow import descriptors
from microflow.errors import InputError, JobConflictError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.pipeline.paths import held_files
from microflow.store.connector import PostgreSQLConnector
from pipeline.alike import METHODS, run

Make = Callable[..., JobSpec]
SHIPPED = Path(descriptors.__file__).parent


@pytest.mark.parametrize("method", METHODS)
def test_schedulers_and_splits_do_not_change_the_answer(a_job: Make, visits: Path, tmp_path: Path, method: str) -> None:
    """One process, two workers, and splits of three sizes; repeated ids are refused across splits and files."""
    answers = []
    for number, changes in enumerate(
        ({"workers": 1}, {"workers": 2}, {"workers": 2, "split_bytes": 700}, {"workers": 1, "split_bytes": 1})
    ):
        files = {"output": tmp_path / f"{number}.csv", "quarantine": tmp_path / f"{number}.bad.csv"}
        answers.append(run(a_job(input=visits, method=METHODS[method], **files, **changes)))
    _, quarantine, fates = answers[0]
    assert b"this record id was seen before" in quarantine
    assert fates["total_records"] + fates["quarantined"] == 300
    assert all(answer == answers[0] for answer in answers[1:])


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz", ".csv.zst", ".jsonl"])
def test_every_format_is_written_the_same_by_workers(a_job: Make, tmp_path: Path, suffix: str) -> None:
    """Row groups and compressed streams do not depend on how the input was cut."""
    one = run(a_job(output=tmp_path / f"one{suffix}", workers=1))
    two = run(a_job(output=tmp_path / f"two{suffix}", workers=2, split_bytes=9_000))
    assert one == two
    if suffix == ".parquet":
        assert pq.read_table(tmp_path / "two.parquet").num_rows == one[2]["released"]


@pytest.mark.parametrize("method", ["tokenization", "k_anonymity", "microflow"])
def test_many_refused_rows_wait_in_a_file(
    a_job: Make, visits: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str
) -> None:
    """What says which rows were refused is the same text, in memory or not; the file is gone at the end."""
    job = a_job(input=visits, method=METHODS[method], split_bytes=2_000)
    answer = run(replace(job, output=tmp_path / "whole.csv", workers=1))
    monkeypatch.setattr("microflow.engine.reading.MOST_TEXT", 10)
    assert run(replace(job, workers=1)) == answer
    assert not list(tmp_path.glob("**/*.refused"))


def test_one_compressed_file_is_read_in_this_process(
    a_job: Make, people: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is one split, whose results a worker would hold back until its end: nothing is won, and all is in memory."""
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(people.read_bytes()))
    monkeypatch.setattr("microflow.pipeline.attempt.ProcessPool", None)
    plain = run(a_job(output=tmp_path / "plain.csv", workers=1))
    assert run(a_job(input=packed, workers=2)) == plain


def test_a_worker_does_not_inherit_the_key(a_job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key travels in memory: nothing in the environment of a worker holds it."""
    seen = []
    popen = subprocess.Popen

    def watch(*args, env, **more):
        seen.append(env)
        return popen(*args, env=env, **more)

    monkeypatch.setattr(subprocess, "Popen", watch)
    run(a_job(workers=2, output=tmp_path / "out.csv"))
    assert len(seen) == 2
    assert not [name for env in seen for name in env if "KEY" in name or "DATABASE" in name]


def test_no_two_paths_are_one_file(a_job: Make, people: Path, tmp_path: Path) -> None:
    """By name, by another spelling, by symbolic and by hard link: refused before anything is opened."""
    own = tmp_path / "in.csv"
    own.write_bytes(people.read_bytes())
    (tmp_path / "soft.csv").symlink_to(own)
    os.link(own, tmp_path / "hard.csv")
    spelled = tmp_path / ".." / tmp_path.name / "in.csv"
    for path in (own, tmp_path / "soft.csv", tmp_path / "hard.csv", spelled):
        for name in ("output", "quarantine", "metrics"):
            with pytest.raises(InputError, match="one file"):
                PipelineOrchestrator(None).run(a_job(input=own, overwrite=True, **{name: path}))
    with pytest.raises(InputError, match="one file"):
        PipelineOrchestrator(None).run(a_job(metrics=tmp_path / "out.csv"))
    assert own.read_bytes() == people.read_bytes()


def test_what_is_there_is_not_overwritten_unasked(a_job: Make, tmp_path: Path) -> None:
    """An output needs ``overwrite``; an old quarantine of ours does not stay beside a clean run."""
    job = a_job()
    Path(job.output).write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        PipelineOrchestrator(None).run(job)
    assert Path(job.output).read_text() == "mine"
    PipelineOrchestrator(None).run(a_job(overwrite=True))
    assert (tmp_path / "bad.csv").exists()
    clean = tmp_path / "clean.csv"
    clean.write_text("".join(line for line in job.input.read_text().splitlines(keepends=True) if "unknown" not in line))
    PipelineOrchestrator(None).run(a_job(input=clean, overwrite=True))
    assert not (tmp_path / "bad.csv").exists()


def test_a_file_belongs_to_one_job_at_a_time(a_job: Make, tmp_path: Path) -> None:
    """Output, quarantine or metrics, as whatever the second job wants it and spells it: refused by the first's name."""
    (tmp_path / "link").symlink_to(tmp_path)
    held = {name: tmp_path / f"held.{name}" for name in ("output", "quarantine", "metrics")}
    spellings = (tmp_path, tmp_path / "link", tmp_path / "link" / ".." / tmp_path.name)
    with held_files(a_job(job_id="first-one", **held)):
        for path in held.values():
            for folder in spellings:
                for name in held:
                    with pytest.raises(JobConflictError, match="first-one"):
                        PipelineOrchestrator(None).run(a_job(job_id="second-one", **{name: folder / path.name}))
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith((".", "held"))] == []


def imported_by(people: Path, target: Path, *words: str, **environment: str) -> set[str]:
    """The heavy packages that a job imports."""
    program = (
        "import sys\nfrom microflow.cli import main\n"
        f"sys.argv = ['microflow', 'run', {str(people)!r}, {str(target)!r}, '--schema', 'healthcare', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'sqlalchemy', 'alembic', 'pandas', 'scipy', 'pyspark', 'matplotlib', 'psycopg2', 'numba'}\n"
        "print('heavy', *heavy & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=200,
        env={**os.environ, **environment},
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split()) - {"heavy"}


@pytest.mark.parametrize("method", ["tokenization", "k_anonymity"])
def test_a_small_job_imports_no_more_than_it_needs(people: Path, tmp_path: Path, method: str) -> None:
    """No database driver, no data frames, no science, no cluster, and no compiler where nothing is compiled."""
    assert imported_by(people, tmp_path / "o.csv", "--method", method, "--no-database") == set()


@pytest.mark.database
def test_a_job_with_a_database_imports_the_driver_alone(
    people: Path, tmp_path: Path, connector: PostgreSQLConnector
) -> None:
    """Whether the schema is the newest is asked without the tools that would change it."""
    url = {"DATABASE_URL": connector.url}
    assert imported_by(people, tmp_path / "o.csv", "--method", "tokenization", **url) == {"psycopg2"}


def test_compiled_code_is_loaded_before_it_is_timed(people: Path, tmp_path: Path) -> None:
    """With hierarchies only, a coordinator decides by compiled functions, whose files the guard would see opened."""
    described = (SHIPPED / "healthcare.yaml").read_text().replace("role: quasi_identifier", "role: attribute")
    schema = tmp_path / "zip.yaml"
    schema.write_text(described.replace("{role: attribute, kind: zip", "{role: quasi_identifier, kind: zip"))
    command = [
        sys.executable, "-m", "microflow", "run", str(people), str(tmp_path / "o.csv"), "--schema", str(schema),
        "--method", "k_anonymity", "--k", "3", "--no-database", "--workers", "2",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
