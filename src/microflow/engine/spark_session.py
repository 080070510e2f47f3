"""A quiet Spark session on ``SPARK_MASTER``, made for moving microflows."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

import microflow
from microflow.jvm import java_environment
from microflow.settings import Settings, child_environment

__all__ = ["ship_package", "spark_session"]

_QUIET = Path(__file__).with_name("log4j2.properties")
# The JVM hands numbers out while Python's workers compute on the same cores: what it spends on compiling a second time,
# and on collecting garbage beside the program, is taken from them.
_LEAN = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_QUIET.as_uri()} {_LEAN}",
    "spark.sql.session.timeZone": "UTC",
    # One thread each for Polars and Arrow in a worker: Spark already runs one worker a core.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
}
#: Where Spark finds itself and a cluster.
_SPARKS_OWN = ("SPARK_", "HADOOP_", "YARN_", "KRB5", "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")
#: With workers on this machine only, nobody else needs to reach the driver.
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
