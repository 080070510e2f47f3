"""Machine of a trial: recorded with each trial, and compared before trials are combined."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from microflow.errors import MicroflowError

__all__ = ["Machine", "cores_here", "refuse_unlike"]

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
    def here(cls) -> Machine:
        """This machine, asked once per process."""
        return _here()

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
    seen: dict[str, object] | None = None
    for machine in machines:
        own = machine.likeness
        if seen is None:
            seen = own
        elif different := [name for name in own if own[name] != seen[name]]:
            raise MicroflowError(
                f"trials of unlike machines cannot be merged: {', '.join(different)} differ",
                hint="analyse each machine by itself, or run all arms again on one",
            )


@functools.cache
def _here() -> Machine:
    commit, dirty = _source()
    return Machine(
        cpu_model=_cpu_model(),
        cores=cores_here(),
        memory_bytes=psutil.virtual_memory().total,
        governor=_governor(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries=_versions(),
        commit=commit,
        dirty=dirty,
    )


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text("utf-8").strip()
    except OSError:
        return None


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
