"""Whether a server runs on a folder, as far as any container, process or machine can know.

``postmaster.pid`` names a process identifier, which means nothing in another PID namespace and on another machine.
Every process of an embedded server therefore holds a shared file, ``running``, locked (``flock``; inherited from the
process that started it), and the kernel frees the lock when the last of them has ended.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microflow.errors import SetupError
from microflow.store.place import Place

__all__ = ["is_running", "remove_stale_pid", "running_lock"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/mounts")
#: File systems on which another machine may run a server whose lock this one does not see.
_SHARED = ("nfs", "cifs", "smb", "fuse.", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "afs", "ocfs2", "gfs2")


@contextmanager
def running_lock(folder: Path) -> Iterator[int]:
    """The locked file that a server about to start inherits, as a descriptor.

    Raises:
        BlockingIOError: a process of a server on this folder is alive.
    """
    descriptor = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        # A copy that a server has inherited keeps the lock.
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    """Whether some process of a server on this folder is alive, in whatever container of this machine."""
    try:
        with running_lock(folder):
            return False
    except BlockingIOError:
        return True


def remove_stale_pid(place: Place) -> None:
    """Remove ``postmaster.pid`` that a killed server left, and note which boot of which machine starts the next.

    To be called with the lock held: no process of a server is alive on this machine since it was booted.

    Raises:
        SetupError: the folder is shared between machines and the file was left by another one, or before this one was
            booted: only a person can know whether that server still runs.
    """
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    note, pid = place.folder / "boot", place.data / "postmaster.pid"
    noted = note.read_text("ascii").strip() if note.exists() else boot
    if pid.exists() and noted != boot and _is_shared(place.folder):
        raise SetupError(
            f"a PostgreSQL of another machine may still run on {place.folder}",
            hint=f"stop it there (microflow db stop); if it has gone for good, remove {pid}",
        )
    note.write_text(boot, "ascii")
    pid.unlink(missing_ok=True)


def _is_shared(folder: Path) -> bool:
    """Whether the folder lies on a network file system, by the longest mount point that holds it."""
    if not _MOUNTS.exists():
        return False
    mounts = (line.split()[1:3] for line in _MOUNTS.read_text("utf-8").splitlines() if len(line.split()) > 2)  # noqa: PLR2004
    holding = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    _, kind = max(holding, key=lambda mount: len(mount[0]), default=("", ""))
    return kind.startswith(_SHARED)
