"""The report of a job is complete, and contains no value of a record."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv as pacsv
import pytest
from click.testing import CliRunner

from microflow.anonymize.contract import Method, MethodSettings
from microflow.cli import cli
from microflow.datasets import generate
from microflow.errors import MicroflowError, StoreError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store.connector import PostgreSQLConnector
from microflow.store.progress import JobProgress

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def finished(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    """A finished job on 600 records, with its files still at hand."""
    folder = tmp_path_factory.mktemp("report")
    (batch,) = generate("healthcare", 600, seed=3)
    pacsv.write_csv(batch.rows, folder / "in.csv")
    settings = MethodSettings(Method.K_ANONYMITY, k=3)
    job = JobSpec(folder / "in.csv", folder / "out.csv", "healthcare", settings, job_id="report-test")
    with PostgreSQLConnector(database_url) as connector:
        PipelineOrchestrator(connector).run(job)
    return job


def report_of(job: str, page: Path) -> str:
    done = CliRunner().invoke(cli, ["report", job, "--output", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    return page.read_text("utf-8")


def test_the_page_tells_everything(
    finished: JobSpec, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, rules, the phase figure, risk and utility; self-contained, and without any personal value."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    page = report_of("report-test", tmp_path / "page.html")
    for expected in ("completed", "hipaa-name", "<svg", "linkage, knows 3 columns", "k (smallest class, in "):
        assert expected in page
    assert page.index("guarantee:") < page.index("SHA-256 of the input") < page.index("Violations by rule")
    assert "<pre" not in page
    assert page.count("<table>") == page.count("</table>") == 7
    assert "http" not in page
    (batch,) = generate("healthcare", 600, seed=3)
    for column in ("patient_name", "ssn", "email", "phone", "mrn"):
        values = [value for value in batch.rows.column(column).to_pylist() if value and "*" not in value]
        assert not [value for value in values if value in page]


def test_without_its_files_the_risk_is_not_invented(
    finished: JobSpec, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is still written, and says why nothing was measured."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    finished.output.unlink()
    assert "Not measured: the input or the output is no longer where it was" in report_of(
        "report-test", tmp_path / "page.html"
    )


def test_an_unknown_job_is_one_clear_line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, no page."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with pytest.raises(StoreError, match="no job 'nobody'"):
        CliRunner().invoke(cli, ["report", "nobody"], catch_exceptions=False)


def test_a_resumed_job_prints_the_verdict_of_a_whole_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job says at its end does not depend on whether it was stopped in between."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    (batch,) = generate("healthcare", 600, seed=3)
    pacsv.write_csv(batch.rows, tmp_path / "in.csv")
    words = ["run", str(tmp_path / "in.csv"), str(tmp_path / "whole.csv"), "--schema", "healthcare"]
    whole = CliRunner().invoke(cli, [*words, "--method", "k_anonymity", "--job", "whole"], catch_exceptions=False)

    def stop(_: JobProgress) -> None:
        raise MicroflowError("stopped by the test")

    settings = MethodSettings(Method.K_ANONYMITY)
    job = JobSpec(tmp_path / "in.csv", tmp_path / "stopped.csv", "healthcare", settings, job_id="stopped")
    with PostgreSQLConnector(database_url) as connector, pytest.raises(MicroflowError, match="stopped by the test"):
        PipelineOrchestrator(connector, observe=stop).run(job)
    resumed = CliRunner().invoke(cli, ["resume", "stopped"], catch_exceptions=False)
    assert resumed.exit_code == whole.exit_code == 0
    assert "guarantee: " in resumed.output
    assert resumed.output == whole.output.replace("whole", "stopped")
