"""Jobs from end to end: every row accounted for, no personal value where none belongs, numbers that were measured."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.errors import CheckpointError, InputError, JobCancelledError, KeyMaterialError, MicroflowError
from microflow.pipeline import CommitPolicy, JobSpec, PipelineOrchestrator, StoreRecords
from microflow.pipeline.output import Output
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import JobStore

Make = Callable[..., JobSpec]
SMALL = CommitPolicy(microflows=2)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", [Method.TOKENIZATION, Method.K_ANONYMITY, Method.IDENTITY])
@pytest.mark.parametrize("pipeline", ["batch", "stream", "hybrid"])
def test_every_row_is_released_suppressed_or_quarantined(
    a_job: Make, connector: PostgreSQLConnector, pipeline: str, method: Method
) -> None:
    """File, database, quarantine and metrics tell the same numbers, and they add up to the input."""
    job = a_job(pipeline=pipeline, method=MethodSettings(method, k=3, delta=100))
    metrics = PipelineOrchestrator(connector, commits=SMALL).run(job)
    counted = metrics["processing_metrics"]
    assert counted["released"] == len(rows_of(job.output))
    assert counted["quarantined"] == len(rows_of(job.quarantine or Path()))
    assert counted["released"] + counted["suppressed"] == counted["total_records"]
    assert counted["total_records"] + counted["quarantined"] == len(rows_of(job.input))
    found = connector.query(
        "SELECT count(*), count(DISTINCT ordinal), min(ordinal), max(ordinal) + 1, count(*) FILTER (WHERE released),"
        " sum(violation_count) FROM data_records WHERE job_id = %s",
        (metrics["job_id"],),
    )
    total = counted["total_records"]
    assert found == [(total, total, 0, total, counted["released"], counted["violations_found"])]
    ((violations,),) = connector.query("SELECT count(*) FROM violations WHERE job_id = %s", (metrics["job_id"],))
    assert violations == counted["violations_found"] > 0


def test_the_database_holds_no_personal_value_by_default(
    a_job: Make, connector: PostgreSQLConnector, people: Path
) -> None:
    """Every name and number of every person is looked for in everything the job left in the database and beside it."""
    job = a_job(metrics=people.with_name("metrics.json"))
    metrics = PipelineOrchestrator(connector, commits=SMALL).run(job)
    secrets = {
        row[column] for row in rows_of(people) for column in ("patient_name", "ssn", "patient_ref") if row[column]
    }
    assert len(secrets) > 300
    texts = [metrics_file.read_text() for metrics_file in (job.metrics, job.quarantine) if metrics_file]
    for table in ("data_records", "violations", "original_records", "checkpoints", "jobs"):
        name = "id" if table == "jobs" else "job_id"
        rows = connector.query(f"SELECT t::text FROM {table} t WHERE {name} = %s", (metrics["job_id"],))
        texts += [row[0] for row in rows]
    text = "\n".join(texts)
    assert len(text) > 10_000
    assert not [secret for secret in secrets if secret in text]


def test_the_key_is_in_nothing_a_job_leaves(
    a_job: Make, connector: PostgreSQLConnector, token_key: str, tmp_path: Path
) -> None:
    """Neither the database nor any file holds the key, in hex or in bytes."""
    job = a_job(metrics=tmp_path / "m.json", store_records=StoreRecords.ORIGINAL)
    metrics = PipelineOrchestrator(connector).run(job)
    ((stored,),) = connector.query("SELECT j::text FROM jobs j WHERE id = %s", (metrics["job_id"],))
    left = stored.encode() + b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token_key[:32].encode() not in left
    assert bytes.fromhex(token_key)[:16] not in left


@pytest.mark.parametrize("pipeline", ["batch", "stream"])
def test_rows_are_stored_on_request_only_and_truly(a_job: Make, connector: PostgreSQLConnector, pipeline: str) -> None:
    """``processed`` keeps what was released, ``original`` also what was read; each under the row's own ordinal."""
    job = a_job(
        pipeline=pipeline,
        method=MethodSettings(Method.K_ANONYMITY, k=3, delta=100),
        store_records=StoreRecords.ORIGINAL,
    )
    metrics = PipelineOrchestrator(connector, commits=SMALL).run(job)
    pairs = connector.query(
        "SELECT o.original_data->>'record_id', d.processed_data->>'record_id', d.released FROM data_records d"
        " JOIN original_records o USING (job_id, ordinal) WHERE d.job_id = %s",
        (metrics["job_id"],),
    )
    assert len(pairs) == metrics["processing_metrics"]["total_records"]
    assert all((original == processed) if released else processed is None for original, processed, released in pairs)


def test_without_a_database_the_output_is_the_same(a_job: Make, connector: PostgreSQLConnector, tmp_path: Path) -> None:
    """``--no-database`` needs no server, and gives the same bytes."""
    stored, alone = a_job(), a_job(output=tmp_path / "alone.csv")
    PipelineOrchestrator(connector, commits=SMALL).run(stored)
    metrics = PipelineOrchestrator(None).run(alone)
    assert stored.output.read_bytes() == alone.output.read_bytes()
    assert metrics["research_benefits"]["database_io_overhead"] == {"value": 0.0, "low": 0.0, "high": 0.0, "commits": 0}
    with pytest.raises(CheckpointError, match="without a database"):
        PipelineOrchestrator(None).resume("any")


def test_the_metrics_are_numbers_that_add_up(a_job: Make, connector: PostgreSQLConnector, tmp_path: Path) -> None:
    """Phases and residual are the wall time; the seed's words are there; the file says what is returned."""
    job = a_job(metrics=tmp_path / "metrics.json")
    metrics = PipelineOrchestrator(connector, commits=SMALL).run(job)
    times = metrics["timing_separation"]
    parts = ("pre_processing", "pure_processing", "post_processing", "residual")
    assert sum(times[part] for part in parts) - times["overlap"] == pytest.approx(times["wall"])
    counted = metrics["processing_metrics"]
    assert counted["records_per_second"] == pytest.approx(counted["total_records"] / times["pure_processing"])
    assert counted["average_batch_time"] == pytest.approx(times["pure_processing"] / counted["batches_processed"])
    gains = metrics["research_benefits"]
    assert gains["memory_bounds"] == 50
    assert gains["timing_contamination"]["is_pure"] is True
    overhead = gains["database_io_overhead"]
    assert overhead["commits"] == gains["fault_tolerance"]["checkpoints"] == 4
    assert 0 < overhead["low"] <= overhead["value"] <= overhead["high"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert JobStore(connector).load(metrics["job_id"]).metrics == metrics


def test_progress_is_seen_after_every_group_and_outside_the_clock(a_job: Make) -> None:
    """An observer may print, write and query: the clock stands still."""
    seen = []

    def observe(progress) -> None:
        with Path("/dev/null").open("w") as file:
            file.write("progress")
        seen.append(progress.rows_read)

    metrics = PipelineOrchestrator(None, observe=observe, commits=CommitPolicy(microflows=1)).run(a_job())
    assert seen == sorted(seen)
    assert len(seen) == metrics["processing_metrics"]["batches_processed"]
    assert seen[-1] == metrics["processing_metrics"]["total_records"]


class StopError(Exception):
    """Raised by an observer in the middle of a job."""


def stop_after(rows: int) -> Callable[..., None]:
    def observe(progress) -> None:
        if progress.rows_read >= rows:
            raise StopError("row 7 of Ada Byron")

    return observe


def stopped(connector: PostgreSQLConnector, job: JobSpec) -> None:
    with pytest.raises(StopError):
        PipelineOrchestrator(connector, commits=SMALL, observe=stop_after(200)).run(job)


def test_a_job_that_failed_says_so_without_a_value_and_can_be_resumed(
    a_job: Make, connector: PostgreSQLConnector, tmp_path: Path
) -> None:
    """A foreign error's text may quote a person: only its kind is stored. Nothing has appeared; then all does."""
    job = a_job(job_id="failed-half-way", output=tmp_path / "out.parquet", store_records=StoreRecords.ORIGINAL)
    stopped(connector, job)
    view = JobStore(connector).load(str(job.job_id))
    assert (view.status, view.error) == ("failed", "StopError")
    assert not job.output.exists()
    metrics = PipelineOrchestrator(connector, commits=SMALL).resume(str(job.job_id))
    assert metrics["research_benefits"]["fault_tolerance"]["resumed_at_microflow"] == 4
    assert pq.read_table(job.output).num_rows == metrics["processing_metrics"]["released"]
    stored = connector.query(
        "SELECT count(*), count(DISTINCT ordinal) FROM original_records WHERE job_id = %s", (job.job_id,)
    )
    assert stored == [(metrics["processing_metrics"]["total_records"],) * 2]
    with pytest.raises(CheckpointError, match="is completed"):
        PipelineOrchestrator(connector).resume(str(job.job_id))


def test_a_job_whose_world_has_changed_is_not_resumed(
    a_job: Make, connector: PostgreSQLConnector, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key or another input would mix two works in one file."""
    own = tmp_path / "people.csv"
    own.write_bytes(people.read_bytes())
    job = a_job(input=own, job_id="changed-world")
    stopped(connector, job)
    orchestrator = PipelineOrchestrator(connector, commits=SMALL)
    with monkeypatch.context() as other_key:
        other_key.setenv("MICROFLOW_TOKEN_KEY", "a0" * 64)
        with pytest.raises(CheckpointError, match="policy or key"):
            orchestrator.resume("changed-world")
    own.write_bytes(people.read_bytes().replace(b"granted", b"GRANTED", 1))
    with pytest.raises(CheckpointError, match="another content"):
        orchestrator.resume("changed-world")
    own.write_bytes(people.read_bytes())
    orchestrator.resume("changed-world")
    assert job.output.exists()


def test_a_cancelled_job_stops_at_its_next_commit(
    a_job: Make, connector: PostgreSQLConnector, database_url: str
) -> None:
    """Another process asks; the job keeps what it committed and says that it was cancelled."""

    def cancel_at_once(_) -> None:
        with PostgreSQLConnector(database_url) as other:
            JobStore(other).request_cancel("to-cancel")

    job = a_job(job_id="to-cancel")
    with pytest.raises(JobCancelledError):
        PipelineOrchestrator(connector, commits=SMALL, observe=cancel_at_once).run(job)
    view = JobStore(connector).load("to-cancel")
    assert (view.status, view.microflows) == ("cancelled", 4)


def test_mistakes_are_told_before_anything_is_made(
    a_job: Make, connector: PostgreSQLConnector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No key, no input, no folder: one clear error each, and no partial file."""
    orchestrator = PipelineOrchestrator(connector)
    with pytest.raises(InputError, match="gone"):
        orchestrator.run(a_job(input=tmp_path / "gone.csv"))
    with pytest.raises(MicroflowError, match="nowhere"):
        orchestrator.run(a_job(output=tmp_path / "nowhere" / "out.csv"))
    monkeypatch.delenv("MICROFLOW_TOKEN_KEY")
    with pytest.raises(KeyMaterialError):
        orchestrator.run(a_job())
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_committed_all_and_died_before_saying_so_is_completed(
    a_job: Make, connector: PostgreSQLConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output in place, job not yet completed: resuming only has to say so."""
    job = a_job(job_id="last-word")

    def die(*_) -> None:
        raise StopError

    with monkeypatch.context() as dying:
        dying.setattr(JobStore, "complete", die)
        with pytest.raises(StopError):
            PipelineOrchestrator(connector).run(job)
    written = job.output.read_bytes()
    metrics = PipelineOrchestrator(connector).resume("last-word")
    assert job.output.read_bytes() == written
    assert metrics["processing_metrics"]["released"] == len(rows_of(job.output))
    assert JobStore(connector).load("last-word").status == "completed"


@pytest.mark.parametrize(
    "case", ["before the output", "behind the output", "before - none refused", "behind - none refused"]
)
def test_a_job_that_died_between_its_two_files_is_resumed(
    a_job: Make, connector: PostgreSQLConnector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    """Quarantine in place and output not yet, or the other way round: both are as if nothing had been."""
    refused = "none" not in case
    job = a_job(job_id=case.replace(" ", "-"), quarantine=tmp_path / "refused.csv")
    if not refused:
        head, *rows = job.input.read_text("utf-8").splitlines(keepends=True)
        job = replace(job, input=tmp_path / "clean.csv")
        job.input.write_text("".join([head, *(row for row in rows if ",unknown," not in row)]), "utf-8")
    whole = replace(
        job, job_id=f"{job.job_id}-whole", output=tmp_path / "whole.csv", quarantine=tmp_path / "whole.refused"
    )
    PipelineOrchestrator(connector, commits=SMALL).run(whole)
    assert whole.quarantine.exists() == refused
    job.quarantine.write_text("line,column,reason\n9,age,of an earlier job\n", "utf-8")
    finish = Output.finish

    def die(self: Output) -> None:
        if case.startswith("behind"):
            finish(self)
        raise StopError

    with monkeypatch.context() as dying:
        dying.setattr(Output, "finish", die)
        with pytest.raises(StopError):
            PipelineOrchestrator(connector, commits=SMALL).run(job)
    PipelineOrchestrator(connector, commits=SMALL).resume(str(job.job_id))
    assert job.output.read_bytes() == whole.output.read_bytes()
    assert job.quarantine.exists() == refused
    assert not refused or job.quarantine.read_bytes() == whole.quarantine.read_bytes()
    assert not list(tmp_path.glob(".*.partial"))


def test_a_name_can_be_used_once(a_job: Make, connector: PostgreSQLConnector) -> None:
    """A second job of the same name is refused before it touches the first one's output."""
    job = a_job(job_id="only-once")
    PipelineOrchestrator(connector).run(job)
    with pytest.raises(MicroflowError, match="exists already"):
        PipelineOrchestrator(connector).run(replace(job, overwrite=True))


@pytest.mark.parametrize("method", [Method.TOKENIZATION, Method.K_ANONYMITY])
@pytest.mark.parametrize("pipeline", ["batch", "stream", "hybrid"])
def test_an_input_without_a_row_is_an_answer(
    a_job: Make, connector: PostgreSQLConnector, tmp_path: Path, pipeline: str, method: Method
) -> None:
    """A header alone gives a header alone, and a completed job of no rows."""
    empty = tmp_path / "empty.csv"
    empty.write_text(a_job().input.read_text().split("\n", 1)[0] + "\n")
    job = a_job(input=empty, pipeline=pipeline, method=MethodSettings(method, k=3))
    metrics = PipelineOrchestrator(connector).run(job)
    assert metrics["processing_metrics"]["total_records"] == 0
    assert metrics["processing_metrics"]["records_per_second"] in {None, 0.0}
    assert rows_of(job.output) == []
    assert job.output.read_text()
