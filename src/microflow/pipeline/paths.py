"""Checks of a job's files: all different, nothing overwritten unasked, one job at a time on each."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from microflow.errors import InputError, JobConflictError
from microflow.pipeline.job import JobSpec
from microflow.pipeline.output import is_part
from microflow.sinks.whole_file import is_device, refuse_unwritable
from microflow.sources.files import STANDARD, is_folder, is_url

__all__ = ["held_files", "refuse_clashes", "refuse_overwriting", "require_free"]

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
        others = read | {other: [target] for other, target in written.items() if other != name}
        for other, paths in others.items():
            if any(_is_one(path, target) for target in paths):
                raise InputError(f"{name} and {other} are one file", path=path, hint="give each a name of its own")
        _refuse_place(path, may_be_there=name == "OUTPUT" and is_folder(job.output))
    if job.metrics is not None:  # the others are opened before any row is read, this one when all is done
        refuse_unwritable(job.metrics)
    if (folder := Path(str(job.input))).is_dir():
        for name, path in written.items():
            if folder.resolve() in (path.resolve(), path.parent.resolve()):
                raise InputError(f"{name} lies in the folder that is read", path=path, hint="write to another folder")


def require_free(
    path: Path, read: Iterable[Path | str] = (), *, overwrite: bool = False, replaces: bytes | None = None
) -> None:
    """See that a command may write a file: its folder is there, it reads another one, and it destroys nothing unasked.

    Args:
        path: The file to be written.
        read: The files that the command reads.
        overwrite: Whether a person asked for a file that is there to be replaced.
        replaces: How an earlier document of the same sort begins, which may be replaced without asking.

    Raises:
        InputError: it may not; nothing was opened.
    """
    _refuse_place(path)
    if any(_is_one(path, Path(other)) for other in read if _is_local(other)):
        raise InputError("would be written over a file that is read", path=path, hint="give another name")
    is_ours = replaces is not None and _begins(path, (replaces,))
    if os.path.lexists(path) and not (overwrite or is_ours or is_device(path)):
        raise InputError("is there already", path=path, hint="give another name, or --overwrite")


def _refuse_place(path: Path, *, may_be_there: bool = False) -> None:
    """See that a file, or a folder, can be made at a path."""
    if path.is_dir() and not may_be_there:
        raise InputError("this is a directory", path=path, hint="give a file")
    if not path.parent.is_dir():
        raise InputError("cannot be written: its folder is not there", path=path, hint="make the folder first")


def refuse_overwriting(job: JobSpec) -> None:
    """Refuse to overwrite a file, unless the job says so.

    Raises:
        InputError: OUTPUT is there, or a quarantine or metrics file that we did not write.
    """
    is_there = _is_local(job.output) and is_folder(job.output) and Path(job.output).is_dir()
    if is_there and not all(is_part(part.name) for part in Path(job.output).iterdir()):
        raise InputError("the folder holds other files than parts", path=job.output, hint="give another folder")
    if job.overwrite:
        return
    hint = "--overwrite replaces it"
    is_lost = any(Path(job.output).iterdir()) if is_there else not is_device(job.output)
    if _is_local(job.output) and os.path.lexists(job.output) and is_lost:
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
def held_files(job: JobSpec, *, resumed: bool = False) -> Iterator[None]:
    """Output, quarantine and metrics, held by this job until the block is left; a second job is refused by name.

    The same job may take them over from an attempt that hangs (``resumed``): the database's fence keeps that one out.

    Raises:
        JobConflictError: another job is writing one of them.
    """
    places = [place for place in (job.output, job.quarantine, job.metrics) if place is not None and _is_local(place)]
    with ExitStack() as held:
        for target in map(Path, places):
            if not is_device(target) or target.is_dir():
                held.enter_context(_held(target, job.name, resumed=resumed))
        yield


@contextmanager
def _held(target: Path, job_id: str, *, resumed: bool) -> Iterator[None]:
    # A name is what belongs to a job, in its folder however that is called: a link there is replaced, not followed.
    path = target.parent.resolve() / f".{target.name}.lock"
    descriptor = _hold(path, target, job_id, resumed=resumed)
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
        if _names(path, descriptor):  # else its earlier owner has just removed it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, job_id.encode(), 0)
            return descriptor
        os.close(descriptor)


def _names(path: Path, descriptor: int) -> bool:
    """True if the path is still the file that is open."""
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
