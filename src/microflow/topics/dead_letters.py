"""Dead letters: where a message stood that cannot be read, and why; never anything that it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from microflow.errors import InputError
from microflow.topics.contract import Result, Writer

__all__ = ["LetterFile", "LetterLines", "LetterTopic", "letter"]


def letter(result: Result) -> bytes:
    """One dead letter as JSON."""
    return json.dumps({"partition": result.partition, "offset": result.offset, "reason": result.reason}).encode()


class LetterFile:
    """A file of JSON Lines that only its owner may read; each letter is on the disk before its message is committed.

    After a crash in between, a letter may stand there twice.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=path) from error
        self._file = os.fdopen(descriptor, "ab")

    def add(self, results: Sequence[Result]) -> None:
        """Append and sync."""
        if results:
            try:
                self._file.writelines(letter(one) + b"\n" for one in results)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise InputError(f"cannot be written: {error.strerror}", path=self._path) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LetterTopic:
    """A topic outside of the sink's transaction; after a crash a letter may stand there twice."""

    def __init__(self, writer: Writer[bytes]) -> None:
        self._writer = writer

    def add(self, results: Sequence[Result]) -> None:
        """Send, and wait until all are safe."""
        if results:
            self._writer.send((b"%d-%d" % (one.partition, one.offset), letter(one)) for one in results)
            self._writer.flush()

    def close(self) -> None:
        """All is flushed already."""


class LetterLines:
    """Letters for a person at a terminal, on standard error."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def add(self, results: Sequence[Result]) -> None:
        """Lines are counted from 1."""
        for one in results:
            self._out.write(f"partition {one.partition}, message {one.offset + 1}: {one.reason}\n")

    def close(self) -> None:
        """Standard error stays open."""
