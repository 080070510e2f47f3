"""The files a job is about to touch: no two of them one, nothing overwritten unasked, one job at a time on each."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from microflow.errors import InputError, JobConflictError
from microflow.ingest.places import STANDARD, is_url
from microflow.pipeline.job import JobSpec
from microflow.whole_file import is_device, refuse_unwritable

__all__ = ["held_output", "refuse_clashes", "refuse_overwriting"]

#: How a quarantine and a metrics document of ours begin: an old one may be replaced.
_QUARANTINE = (b"line,column,reason", b"file,line,column,reason")
_METRICS = b'"timing_separation"'


def refuse_clashes(job: JobSpec, files: list[str]) -> None:
    """See that input, output, quarantine and metrics are different files, whatever they are called.

    Symbolic and hard links are followed, and a folder of input may hold none of the others.

    Raises:
        InputError: two are one file, or there is no place for one; nothing was opened.
        MicroflowError: the metrics could not be written.
    """
    names = {"OUTPUT": job.output, "--quarantine": job.quarantine, "--metrics": job.metrics}
    written = {name: Path(place) for name, place in names.items() if place is not None and _is_local(place)}
    read = {"INPUT": [Path(file) for file in files if _is_local(file)]}
    for described in (job.schema, job.policy):
        if described and Path(described).is_file():
            read.setdefault("the schema or policy", []).append(Path(described))
    for name, path in written.items():
        others = read | {other: [one] for other, one in written.items() if other != name}
        for other, paths in others.items():
            if any(_is_one(path, one) for one in paths):
                raise InputError(f"{name} and {other} are one file", path=path, hint="give each a name of its own")
        _refuse_place(path)
    if job.metrics is not None:  # the others are opened before any row is read, this one when all is done
        refuse_unwritable(job.metrics)
    if (folder := Path(str(job.input))).is_dir():
        for name, path in written.items():
            if path.parent.resolve() == folder.resolve():
                raise InputError(f"{name} lies in the folder that is read", path=path, hint="write to another folder")


def _refuse_place(path: Path) -> None:
    """See that a file can be made at a path."""
    if path.is_dir():
        raise InputError("this is a directory", path=path, hint="give a file")
    if not path.parent.is_dir():
        raise InputError("its folder is not there", path=path, hint="make the folder first")


def refuse_overwriting(job: JobSpec) -> None:
    """See that nothing a person owns is overwritten unless the job was told to.

    Raises:
        InputError: OUTPUT is there, or a quarantine or metrics file that we did not write.
    """
    if job.overwrite:
        return
    hint = "--overwrite replaces it"
    if _is_local(job.output) and os.path.lexists(job.output) and not is_device(job.output):
        raise InputError("is there already", path=job.output, hint=hint)
    if job.quarantine is not None and not is_device(job.quarantine) and not _begins(job.quarantine, _QUARANTINE):
        raise InputError("is there already, and is no quarantine", path=job.quarantine, hint=hint)
    if job.metrics is not None and os.path.lexists(job.metrics) and not is_device(job.metrics):
        with suppress(OSError), job.metrics.open("rb") as file:
            if _METRICS not in file.read(1 << 16):
                raise InputError("is there already, and is no metrics document", path=job.metrics, hint=hint)


def _begins(path: Path, heads: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError:
        return not os.path.lexists(path)
    return begin.startswith(heads) or not begin


@contextmanager
def held_output(job: JobSpec, *, resumed: bool = False) -> Iterator[None]:
    """The output, held by this job until the block is left; a second job on it is refused by name.

    The same job may take it over from an attempt that hangs (``resumed``): the database's fence keeps that one out.

    Raises:
        JobConflictError: another job is writing it.
    """
    if not _is_local(job.output) or is_device(job.output):
        yield
        return
    target = Path(job.output)
    path = target.resolve().with_name(f".{target.name}.lock")
    descriptor = _hold(path, target, str(job.job_id), resumed=resumed)
    try:
        yield
    finally:
        if _names(path, descriptor):
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _hold(path: Path, output: Path, job_id: str, *, resumed: bool) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=output) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
            os.close(descriptor)
            if not (resumed and holder == job_id):
                raise JobConflictError(
                    f"job {holder or 'of another process'} is writing {output}",
                    hint="wait for it, or choose another output",
                ) from None
            path.unlink(missing_ok=True)
            continue
        if _names(path, descriptor):  # else whoever held it before has just removed it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, job_id.encode(), 0)
            return descriptor
        os.close(descriptor)


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path is still the file that is open."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _is_local(place: Path | str) -> bool:
    return str(place) != STANDARD and not is_url(place)


def _is_one(first: Path, second: Path) -> bool:
    if first.resolve() == second.resolve():
        return True
    try:
        return first.samefile(second) and not is_device(first)
    except OSError:
        return False
