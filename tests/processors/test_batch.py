"""Spark: the seed's entry point, a real cluster, workers that lack the package, and no Java."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pytest

from microflow.errors import MicroflowError, SetupError
from microflow.jvm import java
from microflow.jvm.java import java_environment
from microflow.microflows import microflows
from microflow.processors import ProcessingSpec, SparkBatchProcessor, batch, spark_session
from microflow.timing.clock import PhaseClock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.spark
def test_the_seeds_entry_point_goes_from_file_to_file(
    tmp_path: Path,
    make_rows: Callable[..., pa.RecordBatch],
    make_spec: Callable[..., ProcessingSpec],
    spark: SparkSession,
) -> None:
    """With its defaults (k-anonymity, healthcare), microflows as asked; the document's numbers add up."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = make_rows(make_spec("healthcare").schema, 950)
    pyarrow.csv.write_csv(pa.table(rows), source)
    with source.open("a") as file:
        file.write("not,enough\n")
    metrics = SparkBatchProcessor(session=spark).process_batch_microflow(source, target, batch_size=100)
    work, phases = metrics["processing_metrics"], metrics["timing_separation"]
    assert work["total_records"] == work["released"] + work["suppressed"] == 950
    assert work["quarantined"] == 1
    assert work["batches_processed"] == 10
    assert metrics["research_benefits"]["memory_bounds"] == 100
    assert work["violations_found"] > 20
    assert metrics["method"]["k"] == 5
    added = sum(phases[name] for name in ("pre_processing", "pure_processing", "post_processing", "residual"))
    assert added - phases["overlap"] == pytest.approx(phases["wall"])
    assert pyarrow.csv.read_csv(target).num_rows == work["released"]


@pytest.mark.spark
def test_an_empty_source_is_no_error(make_spec: Callable[..., ProcessingSpec], spark: SparkSession) -> None:
    """No microflow in, none out."""
    assert list(SparkBatchProcessor(make_spec("iot"), spark).process(iter(()), PhaseClock())) == []


@pytest.mark.spark
def test_workers_measure_and_the_driver_adds_up(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec], spark: SparkSession
) -> None:
    """Every microflow brings its own pure time along; more than one worker may have been at it."""
    spec, clock = make_spec("iot"), PhaseClock()
    batches = [make_rows(spec.schema, 300, seed) for seed in range(10)]
    done = list(SparkBatchProcessor(spec, spark).process(microflows(batches, 50), clock))
    assert [one.number for one in done] == list(range(60))
    assert min(one.pure_ns for one in done) > 0
    assert sum(one.pure_ns for one in done) == clock.report().pure_ns
    assert list(clock.pure_spans) == [one.pure_ns for one in done]


@pytest.mark.spark
def test_a_job_that_spark_cannot_finish_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
    make_rows: Callable[..., pa.RecordBatch],
    make_spec: Callable[..., ProcessingSpec],
    spark: SparkSession,
) -> None:
    """What a worker says may quote a row: the message does not."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise ValueError("123-45-6789")
        yield from batches

    monkeypatch.setattr(batch, "process_parcels", lambda spec, job: work)
    spec = make_spec("iot")
    with pytest.raises(MicroflowError, match="Spark could not finish") as caught:
        list(SparkBatchProcessor(spec, spark).process(microflows([make_rows(spec.schema, 20)]), PhaseClock()))
    assert "6789" not in str(caught.value)


def test_without_java_there_is_a_remedy(
    monkeypatch: pytest.MonkeyPatch, make_spec: Callable[..., ProcessingSpec]
) -> None:
    """One clear error, before anything is staged."""
    monkeypatch.setattr(java, "_candidates", lambda: iter(()))
    monkeypatch.setattr(spark_session.SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(SetupError, match="Java 17 or newer was not found") as caught:
        list(SparkBatchProcessor(make_spec("iot")).process(iter(()), PhaseClock()))
    assert "install" in caught.value.hint


#: What the processes below a session have in their environment and listen on, while a task runs in a worker.
_WATCHED = """
import os, psutil
from microflow.processors.spark_session import spark_session
spark = spark_session("local[2]")
assert os.environ["MICROFLOW_TOKEN_KEY"] and os.environ["SECRET_OF_OURS"]

def inside(batches):
    import os, pyarrow as pa
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"names": [" ".join(os.environ)]})

names = spark.range(1).mapInArrow(inside, "names string").collect()[0].names.split()
family = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
everywhere = {name for process in family for name in process.environ()} | set(names)
addresses = {
    one.laddr.ip.removeprefix("::ffff:") for process in family for one in process.net_connections("inet")
    if one.status == psutil.CONN_LISTEN
}
print("java" in {process.name() for process in family}, sorted(addresses))
print(sorted(name for name in everywhere if name.startswith(("MICROFLOW_TOKEN", "SECRET"))))
spark.stop()
"""


@pytest.mark.spark
def test_no_key_is_in_a_jvms_environment_and_nothing_listens_on_a_network() -> None:
    """Neither the JVM nor the Python workers below it inherit what is not on the list; all sockets are on loopback."""
    try:
        java_environment()
    except SetupError as error:
        pytest.skip(str(error))
    environment = {**os.environ, "MICROFLOW_TOKEN_KEY": "5e" * 32, "SECRET_OF_OURS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["True ['127.0.0.1']", "[]"]


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A standalone master and two workers of one core each, in processes of their own."""
    try:
        environment = java_environment()
    except SetupError as error:
        pytest.skip(str(error))
    port, environment["SPARK_LOCAL_IP"] = _free_port(), "127.0.0.1"
    address = f"spark://127.0.0.1:{port}"
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(_free_port())]
    worker = ["worker.Worker", "--cores", "1", "--memory", "2g", "--webui-port", "0", address]
    with ExitStack() as stack:
        for number, arguments in enumerate(
            (master, [*worker, "--work-dir", str(folder / "1")], [*worker, "--work-dir", str(folder / "2")])
        ):
            log = stack.enter_context((folder / f"{number}.log").open("wb"))
            command = [str(_spark_class()), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if number == 0:
                _await(lambda: _listens(port))
        _await(lambda: (folder / "0.log").read_text().count("Registering worker") == 2)
        yield address


#: Runs where the package cannot be imported from anywhere but the driver's own path.
_ON_A_CLUSTER = """
import sys
sys.path[:0] = {paths!r}
from conftest import rows_of, spec_of
from microflow.microflows import microflows
from microflow.processors import LocalBatchProcessor, SparkBatchProcessor
from microflow.processors.spark_session import spark_session
from microflow.timing.clock import PhaseClock
spec = spec_of("healthcare")
batches = [rows_of(spec.schema, 500, seed) for seed in range(6)]
spark = spark_session()
done = list(SparkBatchProcessor(spec, spark).process(microflows(batches, 50), PhaseClock()))
reference = list(LocalBatchProcessor(spec).process(microflows(batches, 50), PhaseClock()))
assert [one.released for one in done] == [one.released for one in reference]

def where(batches):
    import microflow, pyarrow as pa
    for batch in batches:
        yield pa.RecordBatch.from_pydict({{"place": [microflow.__file__]}})

places = {{row["place"] for row in spark.range(4).mapInArrow(where, "place string").collect()}}
assert all("microflow.zip" in place for place in places), places
print("workers:", len(spark.sparkContext._jsc.sc().getExecutorMemoryStatus().keySet().toString().split(",")) - 1)
spark.stop()
"""


@pytest.mark.spark
def test_a_standalone_cluster_that_lacks_the_package_does_the_same(tmp_path: Path) -> None:
    """A master and two workers; the package comes with the job, and the rows equal the local engine's."""
    (tmp_path / "shared").mkdir()
    # Workers start Python without our site-packages' link to the source tree: -S skips .pth files.
    python = tmp_path / "python"
    packages = [path for path in sys.path if path.endswith("site-packages")]
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{":".join(packages)}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    with cluster(tmp_path) as address:
        environment = java_environment() | {
            "SPARK_MASTER": address,
            "PYSPARK_PYTHON": str(python),
            "MICROFLOW_SPARK_FOLDER": str(tmp_path / "shared"),
        }
        script = _ON_A_CLUSTER.format(paths=[str(ROOT / "src"), str(Path(__file__).parent)])
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=200, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "workers: 2"


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
