"""Where rows go that cannot be used: with their line, column and reason, never silently."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from microflow.errors import InputError
from microflow.sources.block import Refusal
from microflow.sources.formulas import harmless
from microflow.whole_file import refused_as

__all__ = ["Quarantine", "quarantine_head", "quarantine_text"]


def quarantine_head(*, keep_raw: bool, several: bool = False) -> bytes:
    """The header line; ``several``: rows come from more than one file, which is named first."""
    return (
        ",".join((*(["file"] if several else []), "line", "column", "reason", *(["raw"] if keep_raw else []))).encode()
        + b"\r\n"
    )


def quarantine_text(refused: Iterable[Refusal], *, keep_raw: bool, file: str | None = None) -> bytes:
    """Refused rows as lines of CSV; ``file`` stands first where it is given.

    No foreign text may act as a formula when the quarantine is opened in a spreadsheet.
    """
    text = io.StringIO(newline="")
    write = csv.writer(text).writerow
    for line, column, reason, raw in refused:
        named = [] if file is None else [harmless(file)]
        write([*named, line, harmless(column), reason, *([harmless(raw)] if keep_raw else [])])
    # Raw text may hold bytes that are no text: they are shown, not refused a second time.
    return text.getvalue().encode("utf-8", "backslashreplace")


class Quarantine:
    """Counts every row that could not be used and, given a path, writes why.

    The file appears when the block is left, and only if there is anything in it. The raw text is written on request
    only: it may be personal data, and a broken row is no reason to copy it.

    Args:
        path: The CSV file to write (line, column, reason, raw), or ``None`` to count only.
        keep_raw: Whether to write the raw text.
    """

    def __init__(self, path: Path | None = None, *, keep_raw: bool = False) -> None:
        self.path = path
        self.keep_raw = keep_raw
        #: Rows by reason.
        self.counts: Counter[str] = Counter()
        self._file: io.BufferedWriter | None = None

    @property
    def total(self) -> int:
        """Rows quarantined so far."""
        return self.counts.total()

    def add(self, line: int, column: str, reason: str, raw: str = "") -> None:
        """Take one row in. ``line`` counts from 1, in the file; ``column`` is empty where the whole row is at fault."""
        self.counts[reason] += 1
        if self.path is None:
            return
        text = quarantine_text([Refusal(line, column, reason, raw)], keep_raw=self.keep_raw)
        with refused_as(self.path):
            if self._file is None:
                descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(descriptor, "wb")
                self._file.write(quarantine_head(keep_raw=self.keep_raw))
            self._file.write(text)

    def require_none(self, path: Path | str) -> None:
        """See that every row of a file could be used.

        Raises:
            InputError: some could not; says how many, and the most frequent reason.
        """
        if self.total:
            reason, count = self.counts.most_common(1)[0]
            raise InputError(f"{self.total:,} rows cannot be read ({count:,}: {reason})", path=path)

    @property
    def _partial(self) -> Path:
        assert self.path is not None
        return self.path.with_name(f".{self.path.name}.partial")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None or self.path is None:
            return
        if kind is not None:
            with suppress(OSError):  # a full disk may refuse what is still waiting
                self._file.close()
            self._partial.unlink(missing_ok=True)
            return
        with refused_as(self.path):
            self._file.close()
            self._partial.replace(self.path)
