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

__all__ = ["Ended", "Outcome", "judge", "microflow"]

#: Seconds after which an attack counts as one that never ends.
PATIENCE_S = 120
_KEY = "5e" * 32


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


def microflow(*arguments: str | Path, folder: Path, stdin: bytes | None = None, **environment: str) -> Ended:
    """Run a command with a token key in its environment, and measure what it took."""
    command = [sys.executable, "-m", "microflow", *map(str, arguments)]
    env = {**os.environ, "MICROFLOW_TOKEN_KEY": _KEY, **environment}
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    peak = _Peak(process.pid)
    status: int | None = None
    said = b""
    try:
        to_send = stdin or b""
        while True:
            try:
                said, _ = process.communicate(to_send, timeout=0.05)
                status = process.returncode
                break
            except subprocess.TimeoutExpired:
                to_send = b""
                peak.look()
            if time.monotonic() - started > PATIENCE_S:
                process.kill()
                said, _ = process.communicate()
                break
    finally:
        process.kill()
    return Ended(status, said.decode("utf-8", "replace"), time.monotonic() - started, peak.mib)


class _Peak:
    """The most that a process and its children took, each by itself."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.mib = 0.0

    def look(self) -> None:
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in family:
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{one.pid}/status").read_text("ascii"))
                self.mib = max(self.mib, int(found[1]) / 1024 if found else 0)


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
        faults.append(f"did not end in {PATIENCE_S} s")
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
    leaks = [f"{sentinel[:12]}… on the screen" for sentinel in sentinels if sentinel in ended.said]
    for path in artefacts:
        content = path.read_bytes() if path.is_file() else b""
        leaks += [f"{sentinel[:12]}… in {path.name}" for sentinel in sentinels if sentinel.encode() in content]
    return Outcome(case, tuple(leaks), tuple(faults), f"{ended.seconds:5.1f} s {ended.peak_mib:5.0f} MiB")
