"""What a worker is told to do, and the accepted rows of the splits it is given, with what was refused beside them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.engine.contract import ProcessingSpec
from microflow.settings import MORSEL
from microflow.sinks.writers import quarantine_text
from microflow.sources.columns import Refusal
from microflow.sources.reader import read_split
from microflow.sources.record_ids import Digest, SeenIds, digest
from microflow.sources.splits import Split

__all__ = ["Digests", "Ids", "Part", "Reading", "Work", "doubled_in"]

#: Text about refused rows that is held in memory; what is more waits in a file, however many rows are refused.
MOST_TEXT = 2**24
#: Record ids of some rows: their digests, and the positions of those that are there (``None``: all are).
Digests = tuple[Digest, npt.NDArray[np.int64] | None, int]


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a part file, from ``start`` to before ``stop``; behind the ``last`` ones it is of no more use."""

    path: str
    start: int
    stop: int
    last: bool = False


@dataclass(frozen=True)
class Work:
    """What is to be done with every split.

    Args:
        spec: Schema, policy, method and key.
        text: How released rows leave: ``csv`` or ``jsonl``, or ``arrow`` for anything that is not text.
        folder: Where parts and spools are written.
        part: What part files are called where they are whole files of the output; empty: the output is put together.
        keep_raw: Whether refused rows keep their raw text.
        name_file: Whether refused rows name their file.
        keep_released: Whether pieces keep the released rows too, for the database.
        keep_original: Whether pieces keep the rows as they were read.
        morsel: Microflows that are worked on together, and committed together.
    """

    spec: ProcessingSpec
    text: str
    folder: str
    part: str = ""
    keep_raw: bool = False
    name_file: bool = False
    keep_released: bool = False
    keep_original: bool = False
    morsel: int = MORSEL


@dataclass(slots=True)
class Ids:
    """How record ids are kept unique: by what this process has ``seen``, or by what a coordinator said is ``doubled``.

    Without ``seen``, digests are collected in ``digests`` for the coordinator to compare.
    """

    seen: SeenIds | None = None
    doubled: npt.NDArray[np.int64] | None = None
    digests: list[Digests] = field(default_factory=list)
    accepted: int = 0


class Reading:
    """The accepted batches of splits that are read as one; collects what was refused beside them."""

    def __init__(self, work: Work, splits: Sequence[Split], ids: Ids, skip_refused: int = 0) -> None:
        self._work, self._splits, self._ids = work, splits, ids
        self._skip = skip_refused
        self._refused = 0
        self._text: list[bytes] = []
        self._spilled: str | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        schema, ids = self._work.spec.schema, self._ids
        for split in self._splits:
            for rows in read_split(split, schema, keep_raw=self._work.keep_raw, seen=ids.seen, doubled=ids.doubled):
                self._refuse(split.file, rows.refused[self._skip :])
                self._skip = max(self._skip - len(rows.refused), 0)
                if schema.record_id is not None and ids.seen is None and ids.doubled is None:
                    ids.digests.append(_digests(rows.batch.column(schema.record_id)))
                ids.accepted += rows.batch.num_rows
                yield rows.batch

    def take_refused(self) -> tuple[int, bytes | Part]:
        """How many rows were refused since the last call, and the text that says so, in a file where it is long."""
        count, self._refused = self._refused, 0
        if self._spilled is None:
            text, self._text = b"".join(self._text), []
            return count, text
        self._spill()
        path, self._spilled = self._spilled, None
        return count, Part(path, 0, Path(path).stat().st_size, last=True)

    def _refuse(self, file: str, refused: list[Refusal]) -> None:
        if not refused:
            return
        self._refused += len(refused)
        named = file if self._work.name_file else None
        self._text.append(quarantine_text(refused, keep_raw=self._work.keep_raw, file=named))
        if sum(map(len, self._text)) > MOST_TEXT:
            self._spill()

    def _spill(self) -> None:
        """Append the text to a file that is its owner's alone: it may quote the input."""
        if self._spilled is None:
            descriptor, self._spilled = tempfile.mkstemp(".refused", dir=self._work.folder)
        else:
            descriptor = os.open(self._spilled, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(descriptor, "ab") as spilled:
            spilled.writelines(self._text)
        self._text = []


def _digests(ids: pa.Array) -> Digests:
    present = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False)) if ids.null_count else None
    return digest(ids), present, len(ids)


def doubled_in(ids: list[Digests], seen: SeenIds) -> npt.NDArray[np.int64]:
    """Positions among the rows of a split (ascending) whose record id was seen before; they count as seen now."""
    found, first = [np.empty(0, np.int64)], 0
    for digests, positions, rows in ids:
        again = np.flatnonzero(seen.seen(digests))
        found.append(first + (again if positions is None else positions[again]))
        first += rows
    return np.concatenate(found)
