"""Launch of a call in a new process, and the machine that it runs on.

No earlier trial (caches, heap, threads, a JVM) affects a call in a process of its own. ``python -m
microflow.lab.launch`` is the other side: one call, JSON in, JSON out. The answer travels on what was standard output;
standard output itself is turned to standard error first, so that nothing a library (or a JVM) prints can spoil the
answer. The machine is recorded with each trial, and compared before trials are combined.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

from microflow.errors import MicroflowError, SetupError
from microflow.timing.meters import ResourceMeter, ResourceUsage, TreeWatch

__all__ = ["START_S", "Launch", "Machine", "cores_here", "launch", "refuse_unlike"]

#: The libraries whose version can change a measured time.
_LIBRARIES = ("cryptography", "numpy", "pandas", "polars", "psycopg2-binary", "pyarrow", "pyspark", "sqlalchemy")
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, software and source of a trial. ``cores`` are those this process may use.

    ``governor`` is ``None`` where the kernel shows none (virtual machines, containers); ``commit`` and ``dirty`` are
    ``None`` outside a git work tree.
    """

    cpu_model: str
    cores: int
    memory_bytes: int
    governor: str | None
    kernel: str
    python: str
    libraries: dict[str, str]
    commit: str | None
    dirty: bool | None

    @classmethod
    @functools.cache
    def here(cls) -> Self:
        """This machine, asked once per process."""
        commit, dirty = _source()
        return cls(
            cpu_model=_cpu_model(),
            cores=cores_here(),
            memory_bytes=psutil.virtual_memory().total,
            governor=_text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
            kernel=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            libraries=_versions(),
            commit=commit,
            dirty=dirty,
        )

    @property
    def likeness(self) -> dict[str, object]:
        """Properties that must be equal for comparable times. The commit is not one: the analyst judges it."""
        unlike = {"commit", "dirty", "memory_bytes"}
        # Firmware and kernel take a few MiB more or less from boot to boot.
        memory = {"memory_gib": round(self.memory_bytes / _GIB)}
        return {name: value for name, value in asdict(self).items() if name not in unlike} | memory


def refuse_unlike(machines: Iterable[Machine]) -> None:
    """Refuse to put trials together that ran on different machines or different software.

    Raises:
        MicroflowError: names what differs.
    """
    known = [machine.likeness for machine in machines]
    if different := [name for name in (known[0] if known else ()) if any(own[name] != known[0][name] for own in known)]:
        raise MicroflowError(
            f"trials of unlike machines cannot be merged: {', '.join(different)} differ",
            hint="analyse each machine by itself, or run all arms again on one",
        )


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text_of(file: str) -> str:
    """The text of a file of the kernel's; nothing where it keeps none."""
    try:
        return Path(file).read_text("utf-8")
    except OSError:
        return ""


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _text_of("/proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _source() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the work tree this package lies in, if it lies in one."""
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    # A file that is ignored (an installed package inside some other repository) has no commit of its own.
    if commit is None or _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    return commit, bool(_git(folder, "status", "--porcelain"))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


#: What a fresh process takes before its call begins: an interpreter, NumPy, Arrow, Polars.
START_S = 1.0

#: Seconds between two looks at the processes of a trial.
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Launch:
    """Result of a call, and the conditions under which it ran. Loads are one-minute averages."""

    result: dict[str, Any]
    machine: Machine
    load_before: float
    load_after: float
    usage: ResourceUsage


def launch(target: str, config: Mapping[str, Any], *, timeout_s: float = 600) -> Launch:
    """Call ``target`` (``"package.module:function"``) with ``config`` in a fresh interpreter, watched from outside.

    Both configuration and answer are JSON. What the call prints, and what a JVM has to say, is shown if it fails.
    Secrets travel by environment, which the process inherits, never in ``config``, which is stored.

    Raises:
        SetupError: the call raised one.
        MicroflowError: the call raised another, took longer than ``timeout_s`` seconds, or ended without an answer.

    >>> launch("builtins:dict", {"answer": 42}).result
    {'answer': 42}
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "microflow.lab.launch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watch = TreeWatch(process.pid)
    try:
        text, said = _await(process, json.dumps({"target": target, "config": dict(config)}), watch, timeout_s)
    finally:
        if process.poll() is None:
            # The session is the call's own: with it end the workers that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        sys.stderr.write(said)
        raise MicroflowError(f"{target} ended with status {process.returncode}", hint="its traceback is above")
    return _read(json.loads(text), watch)


def _await(process: subprocess.Popen[str], request: str, watch: TreeWatch, timeout_s: float) -> tuple[str, str]:
    deadline = time.perf_counter_ns() + round(timeout_s * 1e9)
    to_send: str | None = request
    while True:
        try:
            return process.communicate(to_send, timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            to_send = None
            watch.sample()
        if time.perf_counter_ns() > deadline:
            raise MicroflowError(f"a trial took longer than {timeout_s:g} s", hint="give it fewer rows or more time")


def _read(answer: dict[str, Any], watch: TreeWatch) -> Launch:
    if "error" in answer:
        kind = SetupError if answer["error"]["setup"] else MicroflowError
        raise kind(answer["error"]["message"], hint=answer["error"]["hint"])
    own = answer["usage"]
    # Either view may miss something (children still alive, children too short-lived); neither counts too much.
    usage = ResourceUsage(
        wall_s=own["wall_s"],
        cpu_s=max(own["cpu_s"], watch.cpu_s),
        peak_rss_bytes=max(own["peak_rss_bytes"], watch.peak_rss_bytes),
        rss_before_bytes=own["rss_before_bytes"],
    )
    machine = Machine(**answer["machine"])
    return Launch(answer["result"], machine, answer["load_before"], answer["load_after"], usage)


def _serve() -> None:
    """Answer the request on standard input."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    answer = _answer(json.load(sys.stdin))
    with os.fdopen(answer_to, "w", encoding="utf-8") as stream:
        json.dump(answer, stream, default=_plain)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    module, _, name = request["target"].partition(":")
    try:
        target = getattr(import_module(module), name)
        machine, load_before = Machine.here(), os.getloadavg()[0]
        meter = ResourceMeter()
        result = target(request["config"])
    except MicroflowError as error:
        return {"error": {"message": error.message, "hint": error.hint, "setup": isinstance(error, SetupError)}}
    return {
        "result": result,
        "machine": asdict(machine),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "usage": asdict(meter.usage()),
    }


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON knows them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a trial returned a {type(value).__name__}, which is not JSON")


if __name__ == "__main__":
    _serve()
