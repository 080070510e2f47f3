"""A worker process: gets splits over a socket of its own, does the work on them, and says what it measured.

It inherits an allow-listed environment, so no key and no password; what it needs comes through the socket, in memory.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from microflow.errors import MicroflowError
from microflow.processors.reading import Ids, Part, Work
from microflow.processors.split_work import Effort, Piece, ScreenedSplit, SplitResult, SplitWorker
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

__all__ = ["Worker", "main", "without_pandas"]

#: What a child process gets to see of our environment.
ALLOWED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
_END_SECONDS = 5.0


class Worker:
    """Our end of one worker process; used by one thread at a time."""

    def __init__(self, work: Work) -> None:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in ALLOWED if name in os.environ}
        # Each worker is one core's worth of work.
        environment |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        with theirs:
            command = [
                sys.executable,
                "-c",
                "from microflow.processors.worker import main; main()",
                str(theirs.fileno()),
            ]
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._connection = Connection(ours.detach())
        self._connection.send(work)
        #: The classes of data-set k-anonymity, once they are decided.
        self.classes: object | None = None
        self._sent: object | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def call(self, number: int, name: str, arguments: tuple[object, ...]) -> Any:
        """Have the work ``name`` done on split ``number``.

        Raises:
            MicroflowError: whatever the work raises, or the process was killed.
        """
        try:
            if self.classes is not self._sent:
                self._connection.send(("classes", 0, (self.classes,)))
                self._sent = self.classes
            self._connection.send((name, number, arguments))
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            status = self._process.wait(_END_SECONDS)
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise MicroflowError(
                f"a worker process was ended from outside ({how})",
                hint="was there too little memory? run or resume again",
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

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
    without_pandas()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    server = _Server(connection.recv())
    while True:
        try:
            name, number, arguments = connection.recv()
        except EOFError:
            return
        if name == "classes":
            (server.classes,) = arguments
            continue
        try:
            answer: object = server.do(name, number, arguments)
        except MicroflowError as error:
            answer = error
        except MemoryError:
            answer = MicroflowError("there is too little memory", hint="use fewer --workers")
        except OSError as error:
            answer = OSError(error.errno, error.strerror)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the job; its text may quote a value
            answer = MicroflowError(f"a worker failed: {type(error).__name__}", hint="please report it")
        try:
            connection.send(answer)
        except (BrokenPipeError, pickle.PicklingError):
            return


def without_pandas() -> None:
    """Keep Arrow from importing pandas, half a second, to ask whether the first list it gets is a Series.

    Whoever asks Arrow for pandas afterwards gets it.
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


class _Server:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._clock = PhaseClock(guard=PurityGuard())
        self._worker = SplitWorker(work, self._clock)
        self._told = Effort()
        self.classes: Any = None

    def do(self, name: str, number: int, arguments: tuple[Any, ...]) -> SplitResult | ScreenedSplit:
        if name == "screen":
            split, doubled = arguments
            ids = Ids(doubled=doubled)
            spool = self._file(number, "spool")
            counts, rows = self._worker.screen([split], ids, spool)
            return ScreenedSplit(number, spool, counts, ids.digests, self._effort(), rows)
        if name == "release":
            split, doubled, skip, refused = arguments
            ids = Ids(doubled=doubled)
            pieces = self._worker.release([split], ids, skip, refused)
            return self._written(number, pieces, ids)
        if name == "ids":
            ids = Ids()
            self._worker.note_ids([arguments[0]], ids)
            return SplitResult(number, [], ids.digests, self._effort(), rows=ids.accepted)
        return self._written(number, self._worker.release_screened(self.classes, *arguments), Ids())

    def _written(self, number: int, pieces: Any, ids: Ids) -> SplitResult:
        """The pieces with their bodies in a part file."""
        part = self._file(number, "part")
        done: list[Piece] = []
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                with self._clock.post():
                    start = file.tell()
                    if isinstance(piece.body, bytes):
                        file.write(piece.body)
                    else:
                        with pa.ipc.new_stream(file, piece.body.schema) as writer:
                            writer.write_batch(piece.body)
                    piece.body = Part(part, start, file.tell())
                    done.append(piece)
        if done:
            done[-1].body = replace(cast("Part", done[-1].body), last=True)
        else:
            Path(part).unlink()
        return SplitResult(number, done, ids.digests, self._effort(), ids.accepted)

    def _file(self, number: int, kind: str) -> str:
        return str(Path(self._work.folder, f"{number:06d}.{kind}"))

    def _effort(self) -> Effort:
        """What was measured since the last answer; evidence adds up over the life of the process."""
        report, told, clock = self._clock.report(), self._told, self._clock
        assert clock.guard is not None
        spans = clock.pure_spans
        effort = Effort(
            f"{socket.gethostname()}:{os.getpid()}",
            report.pre_ns - told.pre_ns,
            report.post_ns - told.post_ns,
            list(spans[len(told.pure) :]),
            asdict(clock.guard.evidence),
        )
        self._told = Effort("", report.pre_ns, report.post_ns, list(spans))
        return effort
