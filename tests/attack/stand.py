"""Where attacks are tried: the command line in a process of its own, and what it left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["PATIENCE_S", "Ended", "Outcome", "judge", "microflow"]

#: Seconds after which an attack counts as one that never ends; ``MICROFLOW_PATIENCE=5`` waits five times as long, for a
#: machine that is busy with other work.
PATIENCE_S = 120 * float(os.environ.get("MICROFLOW_PATIENCE", "1"))
_KEY = "5e" * 32
_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
sys.dont_write_bytecode = True
runpy.run_module("microflow", run_name="__main__")
"""


@dataclass(frozen=True)
class Outcome:
    """A case, what leaked, what else is wrong with how it ended, and the time and memory it took."""

    case: str
    leaks: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    cost: str = ""

    @property
    def is_clean(self) -> bool:
        """Nothing leaked and nothing is wrong."""
        return not (self.leaks or self.faults)


@dataclass(frozen=True)
class Ended:
    """How a command ended; ``status`` is ``None`` where it did not within `PATIENCE_S`."""

    status: int | None
    said: str
    seconds: float
    peak_mib: float
    exposed: tuple[str, ...] = ()
    """Child processes with the key in their environment, and sockets open to a network."""


def microflow(*arguments: str | Path, folder: Path, largest_file: int | None = None, **environment: str) -> Ended:
    """Run a command with a token key in its environment, and measure what it took.

    ``largest_file`` is how many bytes a file may have before the disk counts as full.
    """
    program = ["-m", "microflow"] if largest_file is None else ["-c", _LIMITED, str(largest_file)]
    command = [sys.executable, *program, *map(str, arguments)]
    env = {**os.environ, "MICROFLOW_TOKEN_KEY": _KEY, **environment}
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    peak = _Peak(process.pid)
    status: int | None = None
    said = b""
    try:
        while True:
            try:
                said, _ = process.communicate(timeout=0.05)
                status = process.returncode
                break
            except subprocess.TimeoutExpired:
                peak.look()
            if time.monotonic() - started > PATIENCE_S:
                process.kill()
                said, _ = process.communicate()
                break
    finally:
        process.kill()
    return Ended(
        status, said.decode("utf-8", "replace"), time.monotonic() - started, peak.mib, tuple(sorted(peak.exposed))
    )


class _Peak:
    """The most that a process and its children took, each by itself, and what the children give away."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.mib = 0.0
        self.exposed: set[str] = set()

    def look(self) -> None:
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in family:
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{one.pid}/status").read_text("ascii"))
                self.mib = max(self.mib, int(found[1]) / 1024 if found else 0)
            with suppress(psutil.Error):
                self._expose(one)

    def _expose(self, process: psutil.Process) -> None:
        if process != self._process and any(_KEY in value for value in process.environ().values()):
            self.exposed.add(f"the key in the environment of {process.name()}")
        for one in process.net_connections("inet"):
            if one.status == psutil.CONN_LISTEN and not one.laddr.ip.removeprefix("::ffff:").startswith("127."):
                self.exposed.add(f"{process.name()} listens on {one.laddr.ip}")


def judge(
    case: str,
    ended: Ended,
    sentinels: Iterable[str] = (),
    *,
    allowed: Sequence[int] = (0, 1, 2),
    artefacts: Iterable[Path] = (),
    most_mib: float = 600,
) -> Outcome:
    """What is wrong with an ended command: tracebacks, statuses, sizes, and sentinels wherever they are."""
    faults = []
    if ended.status is None:
        faults.append(f"did not end in {PATIENCE_S:.0f} s")
    elif ended.status not in allowed:
        faults.append(f"status {ended.status}")
    if "Traceback" in ended.said:
        faults.append("traceback")
    if ended.status == 2 and "error:" not in ended.said.lower():
        faults.append("no word about the error")
    if ended.peak_mib > most_mib:
        faults.append(f"{ended.peak_mib:,.0f} MiB")
    counted = re.search(r"([\d,]+) rows read = ([\d,]+) released \+ ([\d,]+) suppressed \+ ([\d,]+) quar", ended.said)
    if counted:
        read, *parts = (int(number.replace(",", "")) for number in counted.groups())
        if read != sum(parts):
            faults.append("counts do not add up")
    leaks = [*ended.exposed]
    leaks += [f"{sentinel[:12]}… on the screen" for sentinel in sentinels if sentinel in ended.said]
    for path in artefacts:
        content = path.read_bytes() if path.is_file() else b""
        leaks += [f"{sentinel[:12]}… in {path.name}" for sentinel in sentinels if sentinel.encode() in content]
    return Outcome(case, tuple(leaks), tuple(faults), f"{ended.seconds:5.1f} s {ended.peak_mib:5.0f} MiB")
