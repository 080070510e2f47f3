"""Spark's executors as a pool of workers: each task reads its own split and writes its own part.

What a task reads and writes lies where all machines see it: on a shared file system (``MICROFLOW_SPARK_FOLDER``, or the
folder of the output) or, for input, in an object store. The driver gets what `microflow.engine.worker.Server`
answers: counts, findings, ordinals, refused rows as the quarantine wants them, digests of record ids, and evidence. A
task is a Spark job of its own, so that results are written and committed while others are under way; where an executor
is lost, Spark runs its task elsewhere.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from microflow.engine.reading import Work
from microflow.engine.worker import Server
from microflow.errors import MicroflowError

if TYPE_CHECKING:
    from pyspark import Broadcast

__all__ = ["SparkPool"]

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

    def __init__(self, work: Work) -> None:
        from microflow.engine.spark_session import spark_session

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
    """What an executor is to do, as it travels there."""

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
