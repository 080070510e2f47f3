"""Where rows go that cannot be used: with their line, column and reason, never silently."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from microflow.errors import InputError
from microflow.ingest.formulas import harmless

__all__ = ["Quarantine"]


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
        self._file: IO[str] | None = None
        self._writer: Any = None

    @property
    def total(self) -> int:
        """Rows quarantined so far."""
        return self.counts.total()

    def add(self, line: int, column: str, reason: str, raw: str = "") -> None:
        """Take one row in. ``line`` counts from 1, in the file; ``column`` is empty where the whole row is at fault."""
        self.counts[reason] += 1
        if self.path is None:
            return
        # No text of a stranger's may act as a formula when the quarantine is opened in a spreadsheet.
        entry = [line, harmless(column), reason, *([harmless(raw)] if self.keep_raw else [])]
        try:
            self._open().writerow(entry)
        except OSError as error:
            raise InputError(f"the quarantine cannot be written: {error.strerror}", path=self.path) from error

    def _open(self) -> Any:
        if self._writer is None:
            # Raw text may hold bytes that are no text: they are shown, not refused a second time.
            self._file = self._partial.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["line", "column", "reason", *(["raw"] if self.keep_raw else [])])
        return self._writer

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
        self._file.close()
        if kind is None:
            self._partial.replace(self.path)
        else:
            self._partial.unlink()
