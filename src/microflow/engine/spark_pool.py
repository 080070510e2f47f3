"""Spark: a quiet session, and its executors as a pool of workers, each task of which does one split.

What a task reads and writes lies where all machines see it: on a shared file system (``MICROFLOW_SPARK_FOLDER``, or the
folder of the output) or, for input, in an object store. The driver gets what `microflow.engine.worker.Server`
answers: counts, findings, ordinals, refused rows as the quarantine wants them, digests of record ids, and evidence. A
task is a Spark job of its own, so that results are written and committed while others are under way; where an executor
is lost, Spark runs its task elsewhere.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import microflow
from microflow.engine.reading import SplitWork
from microflow.engine.worker import Server
from microflow.errors import MicroflowError
from microflow.jvm import java_environment
from microflow.settings import Settings, child_environment

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import SparkSession

__all__ = ["SparkPool", "ship_package", "spark_session"]

_WHY = "Spark's log says why; workers need the packages that pyproject.toml names, and to see MICROFLOW_SPARK_FOLDER"
#: Threads that wait for Spark: more tasks than that are never under way.
_MOST = 1_000


class SparkPool:
    """The executors of the active session, or of a new one on ``SPARK_MASTER``.

    Args:
        work: What they do. It travels inside the tasks, and with it the key of tokens.

    Raises:
        SetupError: there is no Java 17 or newer.
        MicroflowError: no executor can be reached.
    """

    def __init__(self, work: SplitWork) -> None:
        self._context = spark_session().sparkContext
        self._packed = pickle.dumps(work)
        self._classes: Broadcast[object] | None = None
        self._group = f"microflow-{uuid.uuid4().hex}"
        # Of a thread, and it is the threads that start Spark's jobs.
        self._threads = ThreadPoolExecutor(_MOST, "microflow-spark", self._context.setJobGroup, (self._group, "a job"))

    @property
    def ahead(self) -> int:
        """Two for every core that the cluster has by now."""
        return min(2 * self._context.defaultParallelism, _MOST)

    def submit(self, number: int, name: str, arguments: tuple[object, ...]) -> Future[Any]:
        """Have the work ``name`` done on split ``number`` by whatever executor Spark chooses."""
        return self._threads.submit(self._run, _Task(self._packed, self._classes, number, name, arguments))

    def share(self, classes: object) -> None:
        """Send every executor the equivalence classes that were decided, once."""
        self._classes = self._context.broadcast(classes)

    def close(self) -> None:
        """Cancel what is under way."""
        self._context.cancelJobGroup(self._group)
        self._threads.shutdown(cancel_futures=True)
        if self._classes is not None:
            self._classes.destroy()
            self._classes = None

    def _run(self, task: _Task) -> object:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            (answer,) = self._context.range(1, numSlices=1).mapPartitions(task).collect()
        except (PySparkException, Py4JError) as error:
            # Its text may quote a value of a row: it goes no further than the log of Spark.
            raise MicroflowError("Spark could not finish the job", hint=_WHY) from error
        return answer


class _Task:
    """Task of an executor, as it travels there."""

    def __init__(
        self,
        packed: bytes,
        classes: Broadcast[object] | None,
        number: int,
        name: str,
        arguments: tuple[object, ...],
    ) -> None:
        self._packed, self._classes = packed, classes
        self._number, self._name, self._arguments = number, name, arguments

    def __call__(self, _: Iterable[int]) -> Iterator[object]:
        server = _server(self._packed)
        if self._classes is not None:
            server.classes = self._classes.value
        yield server.answer(self._name, self._number, self._arguments)


@lru_cache(maxsize=1)
def _server(packed: bytes) -> Server:
    """The one of an executor's Python process, which goes from task to task."""
    return Server(pickle.loads(packed))  # noqa: S301 - our own bytes


# The JVM hands numbers out while Python's workers compute on the same cores: what it spends on compiling a second time,
# and on collecting garbage beside the program, is taken from them.
_LEAN = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    # One thread each for Polars and Arrow in a worker: Spark already runs one worker a core.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
}
#: Where Spark finds itself and a cluster.
_SPARKS_OWN = ("SPARK_", "HADOOP_", "YARN_", "KRB5", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")
#: With workers on this machine only, no other machine needs to reach the driver.
_ON_THIS_MACHINE = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.executor.extraJavaOptions": _LEAN,
}


def spark_session(master: str | None = None) -> SparkSession:
    """The active session, or a new one on ``master`` (by default ``SPARK_MASTER``, else ``local[*]``).

    On a cluster the package is sent to the workers; what it depends on (see ``pyproject.toml``) must be there.

    Raises:
        SetupError: there is no Java 17 or newer.
    """
    from pyspark.sql import SparkSession  # not for executors, which import this module too

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    chosen = master or Settings.read().spark_master
    is_local = chosen.startswith("local") or "://127.0.0.1" in chosen
    os.environ["JAVA_HOME"] = java_environment()["JAVA_HOME"]
    # Spark's own default is the first python3 on the PATH, which may not be the one that has our packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if is_local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName("microflow").master(chosen)
    quiet = Path(__file__).with_name("log4j2.properties").absolute().as_uri()
    builder = builder.config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={quiet} {_LEAN}")
    for name, value in (_SETTINGS | (_ON_THIS_MACHINE if is_local else {})).items():
        builder = builder.config(name, value)
    with _hidden_environment():
        session = builder.getOrCreate()
    if not chosen.startswith("local"):
        ship_package(session)
    return session


@contextmanager
def _hidden_environment() -> Iterator[None]:
    """Let Spark's launcher, which hands the JVM all of our environment, see what a child may know and its own settings.

    A key goes to the workers inside of their work.
    """
    hidden = {name: os.environ[name] for name in os.environ.keys() - child_environment().keys()}
    hidden = {name: value for name, value in hidden.items() if not name.startswith(_SPARKS_OWN)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def ship_package(session: SparkSession) -> None:
    """Send this package to workers that lack it, as a zip on their path."""
    root = Path(microflow.__file__).parent
    # Workers fetch it when they start, which may be at any time: it stays as long as this process.
    folder = tempfile.mkdtemp(prefix="microflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    archive = Path(folder, "microflow.zip")
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in sorted(root.rglob("*")):
            if file.suffix in {".py", ".yaml"}:
                zipped.write(file, file.relative_to(root.parent))
    session.sparkContext.addPyFile(str(archive))
