"""Files that appear complete or not at all, and the error that names the system's reason."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from microflow.errors import MicroflowError

__all__ = ["FULL", "WholeFile", "is_device", "refuse_unwritable", "refused_as", "unwritable", "write_whole"]

#: What a system says when there is no room left.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_device(path: Path | str) -> bool:
    """True if the path is a device or a pipe: it is written to, and never replaced."""
    return Path(path).exists() and not Path(path).is_file()


def unwritable(path: Path | str, error: OSError) -> MicroflowError:
    """The error that says which file the system refused, and why."""
    hint = (
        "make room, then resume the job or run it again"
        if error.errno in FULL
        else "see that its folder is there and yours"
    )
    return MicroflowError(f"{path} cannot be written: {error.strerror or type(error).__name__}", hint=hint)


@contextmanager
def refused_as(path: Path | str) -> Iterator[None]:
    """Block in which an error of the system is reported as an error about this file."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


class WholeFile:
    """File that waits beside its place until all bytes are there; a device or a pipe gets them at once.

    Use as a context manager: leaving it by an exception leaves nothing behind. What the system refuses while bytes are
    written is an ``OSError``, which `refused_as` makes a clear one.

    Args:
        path: The place; links are followed.
        private: Whether no other user may read it, whatever the umask: it may hold personal values.

    Raises:
        MicroflowError: the system refuses; says why.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self._path = path
        target = path.resolve()
        self._partial = None if is_device(target) else target.with_name(f".{target.name}.{os.getpid()}.partial")
        self._target = target
        with refused_as(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC if self._partial else os.O_WRONLY
            descriptor = os.open(self._partial or target, flags | os.O_CLOEXEC, 0o600 if private else 0o666)
            #: Takes the bytes.
            self.file: IO[bytes] = os.fdopen(descriptor, "w+b" if self._partial else "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()

    def finish(self) -> None:
        """Put the file, which is whole, in its place; what the system refuses leaves nothing behind."""
        try:
            self.file.flush()
            if self._partial is not None:
                os.fsync(self.file.fileno())
            self.file.close()
            if self._partial is not None:
                self._partial.replace(self._target)
        except OSError as error:
            self.discard()
            raise unwritable(self._path, error) from error

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # a full disk may refuse what is still waiting
            self.file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a document, text in UTF-8.

    Raises:
        MicroflowError: the system refuses; says why, and nothing has changed.
    """
    with refused_as(path), WholeFile(path) as whole:
        whole.file.write(content.encode("utf-8") if isinstance(content, str) else content)


def refuse_unwritable(path: Path) -> None:
    """See that a file could be made or replaced at a path, before any work is done for it.

    Raises:
        MicroflowError: the system refuses; says why.
    """
    if not is_device(path):
        WholeFile(path, private=True).discard()
