"""Try to cheat the clock, in more ways than the issue asks for; every one is caught and none leaves a trace."""

from __future__ import annotations

import gc
import io
import logging
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from microflow.errors import TimingContaminationError
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard, refuse_if_pure

HERE = Path(__file__)


@pytest.fixture
def clock() -> PhaseClock:
    return PhaseClock(guard=PurityGuard())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    return path


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


#: Caught before anything happens: name to a cheat that is given a folder of its own.
REFUSED: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda folder: (folder / "new").open("w"),
    "open for reading": lambda _: HERE.open(),
    "pathlib": lambda folder: (folder / "new").write_text("x"),
    "os.open": lambda folder: os.open(folder / "new", os.O_CREAT),
    "a folder": lambda folder: (folder / "new").mkdir(),
    "listing": os.listdir,
    "rename": lambda folder: folder.rename(folder.with_name("other")),
    "shutil": lambda folder: shutil.copy(HERE, folder / "new"),
    "temporary file": lambda folder: tempfile.mkstemp(dir=folder),
    "new socket": lambda _: socket.socket(),
    "connection": lambda _: socket.create_connection(("127.0.0.1", 9)),
    "name lookup": lambda _: socket.getaddrinfo("localhost", 80),
    "web request": lambda _: urllib.request.urlopen("http://127.0.0.1:9/"),
    "process": lambda _: subprocess.run(["true"], check=True),
    "shell": lambda _: os.system("true"),
    "fork": lambda _: fork(),
    "SQLite": lambda folder: sqlite3.connect(folder / "new"),
    "sleep": lambda _: time.sleep(0.001),
    "thread": lambda _: threading.Thread(target=list).start(),
    "parquet": lambda folder: pl.DataFrame({"a": [1]}).write_parquet(folder / "new"),
    "log file": lambda folder: logging.FileHandler(folder / "new"),
    "keyboard": lambda _: input(),
    "TLS": lambda _: ssl.create_default_context().wrap_socket(socket.socket()),
}


@pytest.mark.parametrize("cheat", REFUSED.values(), ids=REFUSED.keys())
def test_touching_the_world_is_refused(cheat: Callable[[Path], object], clock: PhaseClock, tmp_path: Path) -> None:
    """The operation never happens; the error names the line in this file that asked for it."""
    with pytest.raises(TimingContaminationError, match=r"test_guard\.py:\d+"), clock.pure():
        cheat(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert clock.guard is not None
    assert clock.guard.evidence.refused >= 1
    assert not clock.guard.evidence.is_pure


def open_socket_pair() -> Callable[[], object]:
    left, right = socket.socketpair()
    return lambda: (left.send(b"x"), right)


def open_file(path: Path) -> Callable[[], object]:
    stream = path.open("w")
    return lambda: (stream.write("x"), stream.flush())


def open_descriptor(path: Path) -> Callable[[], object]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    return lambda: os.write(descriptor, b"x")


def open_pipe(_: Path) -> Callable[[], object]:
    _reader, writer = os.pipe()
    return lambda: os.write(writer, b"x")


def open_sqlite(path: Path) -> Callable[[], object]:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE rows (a)")
    return lambda: (connection.execute("INSERT INTO rows VALUES (1)"), connection.commit())


def open_log(path: Path) -> Callable[[], object]:
    logger = logging.getLogger("cheat")
    logger.setLevel(logging.WARNING)
    logger.addHandler(logging.FileHandler(path))
    return lambda: logger.warning("x")


def open_for_sync(path: Path) -> Callable[[], object]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    return lambda: os.fsync(descriptor)


#: Opened before the clock starts, used inside.
SMUGGLED: dict[str, Callable[[Path], Callable[[], object]]] = {
    "socket": lambda _: open_socket_pair(),
    "file": open_file,
    "descriptor": open_descriptor,
    "pipe": open_pipe,
    "SQLite": open_sqlite,
    "log": open_log,
    "fsync": open_for_sync,
}


@pytest.mark.parametrize("smuggle", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_what_was_open_before_is_caught_in_use(
    smuggle: Callable[[Path], Callable[[], object]], clock: PhaseClock, tmp_path: Path
) -> None:
    """Handles opened outside raise no audit event inside: a gate or the kernel's counters catch their use."""
    cheat = smuggle(tmp_path / "smuggled")
    with pytest.raises(TimingContaminationError, match=r"test_guard\.py:\d+"), clock.pure():
        cheat()


@pytest.mark.parametrize("reader", [pl.read_csv, pyarrow.csv.read_csv], ids=["polars", "arrow"])
def test_foreign_code_that_opens_files_leaves_evidence(
    reader: Callable[[str], object], table: Path, tmp_path: Path
) -> None:
    """Rust and C++ open files behind Python's back, in threads of their own; the evidence says that it happened."""
    reader(str(table))
    clock = PhaseClock(guard=PurityGuard())
    try:
        with clock.pure():
            reader(str(table))
    except TimingContaminationError:
        pass
    assert clock.guard is not None
    assert not clock.guard.evidence.is_pure


def swallow(cheat: Callable[[], object]) -> None:
    with suppress(Exception):
        cheat()


def test_a_swallowed_refusal_still_fails_the_span(clock: PhaseClock, tmp_path: Path) -> None:
    """Catching the error inside does not get anybody away with it."""
    with pytest.raises(TimingContaminationError), clock.pure():
        swallow(lambda: (tmp_path / "new").open("w"))


def test_a_wrapped_refusal_is_unwrapped(clock: PhaseClock, tmp_path: Path) -> None:
    """A library that raises an error of its own instead does not hide the reason."""

    def wrap() -> None:
        try:
            (tmp_path / "new").open("w")
        except TimingContaminationError as error:
            raise KeyError from error

    with pytest.raises(TimingContaminationError, match="open while the clock was running"), clock.pure():
        wrap()


def test_the_error_of_the_work_is_the_one_that_is_seen(clock: PhaseClock) -> None:
    """An exception on its way out of the span is not hidden by the guard's own complaint."""

    def work() -> None:
        os.write(os.pipe()[1], b"x")
        raise KeyError

    with pytest.raises(KeyError), clock.pure():
        work()


def test_another_thread_is_not_stopped_but_seen(clock: PhaseClock, table: Path) -> None:
    """A thread that belongs to somebody else keeps working; the evidence has it apart, and the span stays pure."""
    start, finished = threading.Event(), threading.Event()
    read: list[str] = []

    def outsider() -> None:
        start.wait()
        read.append(table.read_text())
        finished.set()

    thread = threading.Thread(target=outsider, name="outsider")
    thread.start()
    with clock.pure():
        start.set()
        finished.wait()
    thread.join()
    assert clock.guard is not None
    evidence = clock.guard.evidence
    assert read == ["a,b\n1,2\n"]
    assert (evidence.refused, evidence.read_calls, evidence.write_calls) == (0, 0, 0)
    assert evidence.elsewhere_events >= 1
    assert evidence.elsewhere_calls >= 1
    assert "outsider" in evidence.by_thread
    assert evidence.is_pure, evidence


def test_memory_work_is_pure(clock: PhaseClock) -> None:
    """What the pure phase is made of (Arrow, Polars, in-memory text) leaves every counter of the evidence at zero."""
    rows = pa.record_batch({"a": list(range(1_000)), "b": ["x@y.example"] * 1_000})

    def work() -> int:
        frame = pl.from_arrow(rows)
        found = frame.select(pl.col("b").str.contains("@").sum(), pl.col("a").sum()).to_arrow()
        io.StringIO().write("memory")
        return found.num_rows

    work()
    for _ in range(20):
        with clock.pure():
            work()
    assert clock.guard is not None
    evidence = clock.guard.evidence
    assert evidence.kernel_counters
    assert evidence.spans == 20
    assert evidence.is_pure, evidence


def test_outside_of_pure_spans_everything_is_allowed(clock: PhaseClock, tmp_path: Path) -> None:
    """Pre- and post-processing may touch files, also right after a refusal."""
    path = tmp_path / "rows"
    with clock.pre():
        path.write_text("x")
    with pytest.raises(TimingContaminationError), clock.pure():
        path.read_text()
    with clock.post():
        assert path.read_text() == "x"
        time.sleep(0)


def test_two_clocks_in_two_threads_do_not_mix(table: Path) -> None:
    """A refusal in one thread is that thread's alone."""
    outcomes: dict[str, bool] = {}
    ready = threading.Barrier(2)

    def run(name: str, *, cheat: bool) -> None:
        clock = PhaseClock(guard=PurityGuard())
        ready.wait()
        try:
            with clock.pure():
                if cheat:
                    table.read_text()
                else:
                    sum(range(1_000))
        except TimingContaminationError:
            outcomes[name] = False
        else:
            outcomes[name] = True

    threads = [threading.Thread(target=run, args=(name,), kwargs={"cheat": name == "bad"}) for name in ("good", "bad")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"good": True, "bad": False}


def test_a_guard_follows_its_clock_into_another_thread(clock: PhaseClock, tmp_path: Path) -> None:
    """The kernel counts by thread: in a new one the guard looks at that thread's counters."""
    caught: list[str] = []
    with clock.pure():
        pass
    stream = (tmp_path / "rows").open("w")

    def run() -> None:
        try:
            with clock.pure():
                stream.write("x")
                stream.flush()
        except TimingContaminationError as error:
            caught.append(error.message)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "1 write calls" in caught[0]


def test_connectors_can_ask(clock: PhaseClock) -> None:
    """`refuse_if_pure` is silent outside, refuses inside, and names the operation and never a value."""
    refuse_if_pure("a COPY")
    expected = r"^a COPY while the clock was running, at .*test_guard\.py"
    with pytest.raises(TimingContaminationError, match=expected), clock.pure():
        refuse_if_pure("a COPY")


def test_the_kernel_counts_exactly(clock: PhaseClock, tmp_path: Path) -> None:
    """The guard's own readings are taken out: what is left is the work's calls and bytes to the last one."""
    descriptor = os.open(tmp_path / "rows", os.O_CREAT | os.O_RDWR)

    def work() -> None:
        os.write(descriptor, b"12345")
        os.write(descriptor, b"678")
        os.pread(descriptor, 4, 0)

    with pytest.raises(TimingContaminationError, match="1 read and 2 write calls"), clock.pure():
        work()
    assert clock.guard is not None
    evidence = clock.guard.evidence
    assert (evidence.write_calls, evidence.written_bytes) == (2, 8)
    assert (evidence.read_calls, evidence.read_bytes) == (1, 4)
    assert evidence.elsewhere_calls == 0
    os.close(descriptor)


class _Litter:
    """Garbage that only the collector finds, and that touches the disk when it is found."""

    def __init__(self, path: Path) -> None:
        self.myself, self.path = self, path

    def __del__(self) -> None:
        self.path.write_text("found")


def test_garbage_of_others_waits_until_the_clock_stands(clock: PhaseClock, tmp_path: Path) -> None:
    """However often the collector would run, no finaliser of somebody else's garbage spoils a span, or is refused."""
    before = gc.get_threshold()
    gc.collect()
    gc.disable()
    _Litter(tmp_path / "found")
    gc.enable()
    gc.set_threshold(1, 1, 1)
    try:
        with clock.pure():
            kept = [[] for _ in range(5_000)]
            assert not gc.isenabled()
        assert gc.isenabled()
        kept += [[] for _ in range(5_000)]
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert (tmp_path / "found").exists()
    assert clock.guard is not None
    assert clock.guard.evidence.is_pure


def test_a_collector_that_was_off_stays_off(clock: PhaseClock) -> None:
    """A collector that was off before stays off; otherwise the last of several spans switches it on again."""
    other = PhaseClock(guard=PurityGuard())
    ready, done = threading.Event(), threading.Event()

    def span() -> None:
        with other.pure():
            ready.set()
            while not done.is_set():
                sum(range(100))

    thread = threading.Thread(target=span)
    with clock.pure():
        pass
    thread.start()
    ready.wait()
    with clock.pure():
        pass
    assert not gc.isenabled()
    done.set()
    thread.join()
    assert gc.isenabled()
    gc.disable()
    try:
        with clock.pure():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
