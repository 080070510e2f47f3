"""Worker processes of this machine: each gets splits over a socket of its own, and says what it measured.

A process inherits an allow-listed environment, so no key and no password; what it needs comes through the socket, in
memory. `Server` is the worker's side without the socket: an executor of Spark works by it too.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from microflow.engine.reading import Ids, Part, SplitWork
from microflow.engine.split_work import Effort, Piece, SplitResult, SplitWorker
from microflow.errors import MicroflowError
from microflow.settings import child_environment
from microflow.sinks.writers import RowSink, head_of, private, row_sink
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Split
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

__all__ = ["ProcessPool", "Server", "main", "without_pandas"]

#: Each worker is one core's worth of work.
_ONE_CORE = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
_MAIN = "from microflow.engine.worker import main; main()"
_END_SECONDS = 5.0


class ProcessPool:
    """Pool of worker processes on this machine.

    Args:
        work: What they do.
        count: How many.
    """

    def __init__(self, work: SplitWork, count: int) -> None:
        self.ahead = 2 * count
        self._workers = [_Worker(work) for _ in range(count)]
        self._idle = deque(self._workers)
        self._threads = ThreadPoolExecutor(count, "microflow-worker")

    def submit(self, number: int, name: str, arguments: tuple[object, ...]) -> Future[Any]:
        """Have the work ``name`` done on split ``number`` by the next process that is idle."""
        return self._threads.submit(self._call, number, name, arguments)

    def share(self, classes: object) -> None:
        """Send the equivalence classes to every process."""
        for worker in self._workers:
            worker.classes = classes

    def close(self) -> None:
        """End the processes, also in the middle of their work."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)

    def _call(self, number: int, name: str, arguments: tuple[object, ...]) -> Any:
        worker = self._idle.popleft()
        try:
            return worker.call(number, name, arguments)
        finally:
            self._idle.append(worker)


class _Worker:
    """Our end of one worker process; used by one thread at a time."""

    def __init__(self, work: SplitWork) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(theirs.fileno())],
                env=child_environment(**_ONE_CORE),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._connection.send(work)
        #: The classes of data-set k-anonymity, once they are decided.
        self.classes: object | None = None
        self._sent: object | None = None

    def call(self, number: int, name: str, arguments: tuple[object, ...]) -> Any:
        """Answer of `Server.answer`.

        Raises:
            MicroflowError: the process was killed.
        """
        try:
            if self.classes is not self._sent:
                self._connection.send(("classes", 0, (self.classes,)))
                self._sent = self.classes
            self._connection.send((name, number, arguments))
            return self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait(_END_SECONDS)
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise MicroflowError(
                f"a worker process was ended from outside ({how})",
                hint="was there too little memory? run or resume again",
            ) from error

    def close(self) -> None:
        """End the process, also in the middle of its work."""
        self._connection.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def main() -> None:
    """Serve until the other end closes; the socket's descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides
    connection = Connection(int(sys.argv[1]))
    server = Server(connection.recv())
    while True:
        try:
            name, number, arguments = connection.recv()
        except EOFError:
            return
        if name == "classes":
            (server.classes,) = arguments
            continue
        answer = server.answer(name, number, arguments)
        try:
            connection.send(answer)
        except (BrokenPipeError, pickle.PicklingError):
            return


def without_pandas() -> None:
    """Keep Arrow from importing pandas, half a second, to ask whether the first list it gets is a Series.

    Code that asks Arrow for pandas afterwards gets it.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
        try:
            pa.array([0])
        finally:
            del sys.meta_path[0]


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


class Server:
    """Server in a worker process: does the requested work on splits, one after the other.

    What it leaves in the folder of the work has a name of its own that the answer says: where work is done twice, it
    does not matter which of the two is late.
    """

    def __init__(self, work: SplitWork) -> None:
        without_pandas()
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        self._work = work
        self._clock = PhaseClock(guard=PurityGuard())
        self._worker = SplitWorker(work, self._clock)
        self._reported = Effort()
        self.classes: Any = None

    def answer(self, name: str, number: int, arguments: tuple[Any, ...]) -> SplitResult | Exception:
        """The result of the work ``name`` on split ``number``, or why there is none."""
        try:
            return self._do(name, number, arguments)
        except MicroflowError as error:
            return error
        except MemoryError:
            return MicroflowError("there is too little memory", hint="use fewer --workers")
        except OSError as error:
            return OSError(error.errno, error.strerror)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the job; its text may quote a value
            return MicroflowError(f"a worker failed: {type(error).__name__}", hint="please report it")

    def _do(self, name: str, number: int, arguments: tuple[Any, ...]) -> SplitResult:
        if name == "release_screened":
            return self._written(number, self._worker.release_screened(self.classes, *arguments), Ids())
        splits: Sequence[Split]
        splits, doubled, *more = arguments
        ids = Ids(SeenIds()) if name == "release_in_order" else Ids(doubled=doubled)
        if name == "ids":
            self._worker.note_ids(splits, ids)
            return SplitResult(number, self._effort(), ids.digests, ids.accepted)
        if name == "screen":
            spool = self._file(number, "spool")
            counts, rows = self._worker.screen(splits, ids, spool)
            return SplitResult(number, self._effort(), ids.digests, rows, spool=spool, counts=counts)
        return self._written(number, self._worker.release(splits, ids, *more), ids)

    def _written(self, number: int, pieces: Iterable[Piece], ids: Ids) -> SplitResult:
        """The pieces with their bodies in a part file."""
        done: list[Piece] = []
        part = self._file(number, "part")
        with private(part) as file:
            sink: RowSink = _Stretches(file)
            if self._work.part:
                schema = self._worker.anonymizer.output_schema
                sink = row_sink(file, self._work.part, schema)
                sink.write(head_of(self._work.text, schema))
            for piece in pieces:
                with self._clock.post():
                    start = file.tell()
                    assert not isinstance(piece.body, Part)
                    sink.write(piece.body)
                    piece.body = Part(part, start, file.tell())
                    done.append(piece)
            with self._clock.post():
                sink.finish()
        if done:
            done[-1].body = replace(cast("Part", done[-1].body), last=True)
        else:
            Path(part).unlink()
        return SplitResult(number, self._effort(), ids.digests, ids.accepted, done)

    def _file(self, number: int, kind: str) -> str:
        return str(Path(self._work.folder, f"{number:06d}-{uuid.uuid4().hex}.{kind}"))

    def _effort(self) -> Effort:
        """Measurements since the last answer; evidence adds up over the life of the process."""
        report, reported, clock = self._clock.report(), self._reported, self._clock
        assert clock.guard is not None
        spans = clock.pure_spans
        effort = Effort(
            f"{socket.gethostname()}:{os.getpid()}",
            report.pre_ns - reported.pre_ns,
            report.post_ns - reported.post_ns,
            list(spans[len(reported.pure) :]),
            asdict(clock.guard.evidence),
        )
        self._reported = Effort("", report.pre_ns, report.post_ns, list(spans))
        return effort


class _Stretches:
    """A part of which an output is put together: text, or an Arrow stream a piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, body: bytes | pa.RecordBatch) -> None:
        if isinstance(body, bytes):
            self._file.write(body)
            return
        with pa.ipc.new_stream(self._file, body.schema) as writer:
            writer.write_batch(body)

    def finish(self) -> None:
        """Nothing is left to be written."""
