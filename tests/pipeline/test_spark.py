"""Spark does what workers of our own do, byte for byte, also when an executor is lost in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.csv
import pytest

from microflow import jvm as java
from microflow.engine.spark_pool import SparkPool
from microflow.errors import MicroflowError, SetupError
from microflow.jvm import java_environment
from microflow.pipeline import JobSpec, PipelineOrchestrator, SparkBatchProcessor
from pipeline.alike import METHODS, run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., JobSpec]


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """One session for all tests, or the reason why there is none."""
    from microflow.engine.spark_pool import spark_session

    try:
        session = spark_session("local[2]")
    except SetupError as error:
        pytest.skip(str(error))
    yield session
    session.stop()


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("method", METHODS)
def test_spark_gives_the_bytes_of_one_process(a_job: Make, visits: Path, tmp_path: Path, method: str) -> None:
    """A folder of files with cells of several lines: the same output, quarantine, counts, and purity that is shown."""
    answers = [
        run(
            a_job(
                input=visits,
                method=METHODS[method],
                output=tmp_path / f"{number}.csv",
                quarantine=tmp_path / f"{number}.bad.csv",
                **changes,
            )
        )
        for number, changes in enumerate(({"workers": 1}, {"engine": "spark", "split_bytes": 3_000}))
    ]
    assert b"this record id was seen before" in answers[0][1]
    assert answers[1] == answers[0]
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}{end}" for n in range(2) for end in (".csv", ".bad.csv")}


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_spark_writes_the_parts_of_a_folder(a_job: Make, visits: Path, tmp_path: Path) -> None:
    """Parquet, written by the tasks and only renamed by the driver: those of one process."""
    parts = []
    for name, changes in {"one": {"workers": 1}, "two": {"engine": "spark"}}.items():
        job = a_job(input=visits, method=METHODS["k_anonymity"], output=f"{tmp_path / name}.parquet/", **changes)
        PipelineOrchestrator(None).run(job)
        parts.append({path.name: path.read_bytes() for path in (tmp_path / f"{name}.parquet").iterdir()})
    assert len(parts[0]) == 10
    assert parts[1] == parts[0]


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_the_seeds_entry_point_goes_from_file_to_file(tmp_path: Path, people: Path) -> None:
    """With its defaults (k-anonymity, healthcare), microflows as asked; the document's numbers add up."""
    target = tmp_path / "out.csv"
    metrics = SparkBatchProcessor().process_batch_microflow(people, target, batch_size=100)
    work, phases = metrics["processing_metrics"], metrics["timing_separation"]
    assert work["total_records"] == work["released"] + work["suppressed"] == 400 - work["quarantined"]
    assert work["quarantined"] > 0
    assert work["batches_processed"] == 4
    assert metrics["research_benefits"]["memory_bounds"] == 100
    assert metrics["pipeline_type"] == "batch_microflow_spark"
    added = sum(phases[name] for name in ("pre_processing", "pure_processing", "post_processing", "residual"))
    assert added - phases["overlap"] == pytest.approx(phases["wall"])
    assert pyarrow.csv.read_csv(target).num_rows == work["released"]


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_what_spark_cannot_finish_is_one_clear_error(
    a_job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What an executor says may quote a row: the message does not."""

    def broken(_: object) -> Iterator[object]:
        raise ValueError("123-45-6789")
        yield

    submit = SparkPool.submit

    def wrongly(pool: Any, *_: object) -> Future[object]:
        monkeypatch.setattr("microflow.engine.spark_pool._Task", lambda *_: broken)
        return submit(pool, 0, "release", ())

    monkeypatch.setattr(SparkPool, "submit", wrongly)
    with pytest.raises(MicroflowError, match="Spark could not finish") as caught:
        PipelineOrchestrator(None).run(a_job(engine="spark", output=tmp_path / "out.csv"))
    assert "6789" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_java_there_is_a_remedy(a_job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One clear error, and nothing is left."""
    pytest.importorskip("pyspark")
    monkeypatch.setattr(java, "_candidates", lambda: iter(()))
    monkeypatch.setattr("pyspark.sql.SparkSession.getActiveSession", lambda: None)
    with pytest.raises(SetupError, match="Java 17 or newer was not found") as caught:
        PipelineOrchestrator(None).run(a_job(engine="spark"))
    assert "install" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pipeline": "stream", "engine": "spark"}, "batch pipeline, not stream"),
        ({"engine": "flink"}, "no engine"),
        ({"engine": "spark", "input": "-"}, "standard input"),
    ],
)
def test_what_spark_does_not_do_is_refused(a_job: Make, changes: dict[str, str], said: str) -> None:
    """Before anything starts."""
    with pytest.raises(MicroflowError, match=said) as caught:
        PipelineOrchestrator(None).run(a_job(**changes))
    assert caught.value.hint


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a standalone master, and its two workers of one core each, in processes of their own."""
    try:
        environment = java_environment()
    except SetupError as error:
        pytest.skip(str(error))
    port, environment["SPARK_LOCAL_IP"] = _free_port(), "127.0.0.1"
    address = f"spark://127.0.0.1:{port}"
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(_free_port())]
    worker = ["worker.Worker", "--cores", "1", "--memory", "2g", "--webui-port", "0", address]
    processes = []
    with ExitStack() as stack:
        for number, arguments in enumerate(
            (master, [*worker, "--work-dir", str(folder / "1")], [*worker, "--work-dir", str(folder / "2")])
        ):
            log = stack.enter_context((folder / f"{number}.log").open("wb"))
            command = [str(_spark_class()), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(_kill, process)
            if number == 0:
                _await(lambda: _listens(port))
        _await(lambda: (folder / "0.log").read_text().count("Registering worker") == 2)
        yield address, processes[1:]


#: A job whose package cannot be imported from anywhere but the driver's own path.
_ON_A_CLUSTER = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.engine import spark_pool
tasks = []
submit = spark_pool.SparkPool.submit
def counted(pool, *task):
    tasks.append(task)
    if len(tasks) == 15:
        print("in the middle", flush=True)
        sys.stdin.readline()
    return submit(pool, *task)
spark_pool.SparkPool.submit = counted
job = JobSpec(Path({source!r}), Path({target!r}), "healthcare", MethodSettings(Method.K_ANONYMITY, k=3),
              engine="spark", split_bytes=3000, microflow_rows=50)
metrics = PipelineOrchestrator(None).run(job)
from pyspark.sql import SparkSession
spark = SparkSession.getActiveSession()
def where(_):
    import microflow
    yield microflow.__file__
assert "microflow.zip" in spark.sparkContext.range(1, numSlices=1).mapPartitions(where).collect()[0]
print("pure:", metrics["research_benefits"]["timing_contamination"]["is_pure"], "tasks:", len(tasks))
spark.stop()
"""


@pytest.mark.spark
def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(a_job: Make, visits: Path, tmp_path: Path) -> None:
    """A master and two workers that lack the package; one worker and its executor are killed in the middle."""
    reference = a_job(input=visits, method=METHODS["k_anonymity"], output=tmp_path / "one.csv", workers=1)
    expected, _, _ = run(reference)
    (tmp_path / "shared").mkdir()
    # Workers start Python without our site-packages' link to the source tree: -S skips .pth files.
    python = tmp_path / "python"
    packages = [path for path in sys.path if path.endswith("site-packages")]
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{":".join(packages)}:$PYTHONPATH" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    target = tmp_path / "spark.csv"
    with cluster(tmp_path) as (address, workers):
        environment = java_environment() | {
            "SPARK_MASTER": address,
            "PYSPARK_PYTHON": str(python),
            "MICROFLOW_SPARK_FOLDER": str(tmp_path / "shared"),
        }
        script = _ON_A_CLUSTER.format(paths=[str(ROOT / "src")], source=str(visits), target=str(target))
        job = subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert job.stdout is not None
        said = job.stdout.readline()
        assert said == "in the middle\n", job.communicate()[1][-3000:]
        assert not target.exists()
        _kill(workers[0])
        out, error = job.communicate("go on\n", timeout=200)
    assert job.returncode == 0, error[-3000:]
    assert "ExecutorLost" in error or "Lost executor" in error
    assert out.startswith("pure: True tasks:")
    assert target.read_bytes() == expected
    assert not list((tmp_path / "shared").iterdir())


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process with all that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _spark_class() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent / "bin" / "spark-class"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _await(condition: Callable[[], bool], patience_s: float = 90) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not come up"
        time.sleep(0.2)
