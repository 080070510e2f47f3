"""A Spark session gives nothing away: no key in a child's environment, no socket on a network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from microflow.errors import SetupError
from microflow.jvm import java_environment

#: What the processes below a session have in their environment and listen on, while a task runs in a worker.
_WATCHED = """
import os, psutil
from microflow.engine.spark_pool import spark_session
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
