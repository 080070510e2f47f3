"""Input of a worker: splits of the source with their refused rows, and the spools of a first pass.

A spool is an Arrow stream on disk in which a batch is a screened morsel that waits until the equivalence classes are
decided; what belongs to it beside its rows travels as the batch's metadata.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Released
from microflow.compliance import Findings
from microflow.engine.contract import ProcessingSpec
from microflow.engine.kernel import Morsel
from microflow.settings import MORSEL
from microflow.sinks.writers import quarantine_text
from microflow.sources.columns import Refusals
from microflow.sources.reader import read_split
from microflow.sources.record_ids import Digest, SeenIds, digest
from microflow.sources.splits import Split

__all__ = [
    "Digests", "Ids", "Part", "SplitReader", "SplitWork", "Spooled", "Text", "batches_of", "doubled_in", "lay",
    "pick_up",
]  # fmt: skip

#: Text about refused rows that is held in memory; what is more waits in a file, however many rows are refused.
MOST_TEXT = 2**24
#: Record ids of some rows: their digests, and the positions of those that are there (``None``: all are).
Digests = tuple[Digest, npt.NDArray[np.int64] | None, int]
_FINDINGS = {"rows": np.int32, "targets": np.int16, "starts": np.int32, "ends": np.int32}


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a part file, from ``start`` to before ``stop``; behind the ``last`` ones it is of no more use."""

    path: str
    start: int
    stop: int
    last: bool = False


#: Bytes, here or in a file.
Text = bytes | Part


@dataclass(frozen=True)
class SplitWork:
    """Specification of the work on every split.

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
    text: str = "arrow"
    folder: str = ""
    part: str = ""
    keep_raw: bool = False
    name_file: bool = False
    keep_released: bool = False
    keep_original: bool = False
    morsel: int = MORSEL


@dataclass(slots=True)
class Ids:
    """Check of record ids for duplicates: those that this process has ``seen``, or that are known to be ``doubled``.

    Without ``seen``, digests are collected in ``digests`` for the coordinator to compare.
    """

    seen: SeenIds | None = None
    doubled: npt.NDArray[np.int64] | None = None
    digests: list[Digests] = field(default_factory=list)
    accepted: int = 0

    def note(self, ids: pa.Array) -> None:
        """Collect the digests of some rows' ids."""
        present = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False)) if ids.null_count else None
        self.digests.append((digest(ids), present, len(ids)))


def doubled_in(ids: list[Digests], seen: SeenIds) -> npt.NDArray[np.int64]:
    """Positions among the rows of a split (ascending) whose record id was seen before; they count as seen now."""
    found, first = [np.empty(0, np.int64)], 0
    for digests, positions, rows in ids:
        again = np.flatnonzero(seen.seen(digests))
        found.append(first + (again if positions is None else positions[again]))
        first += rows
    return np.concatenate(found)


class SplitReader:
    """The accepted batches of splits that are read as one; collects what was refused beside them."""

    def __init__(self, work: SplitWork, splits: Sequence[Split], ids: Ids, skip_refused: int = 0) -> None:
        self._work, self._splits, self._ids = work, splits, ids
        self._skip = skip_refused
        self._refused = 0
        self._text: list[bytes] = []
        self._spilled: str | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        schema, ids, refusals = self._work.spec.schema, self._ids, Refusals(self._work.keep_raw)
        for split in self._splits:
            for rows in read_split(split, schema, refusals, seen=ids.seen, doubled=ids.doubled):
                self._refuse(split.file, refusals)
                if schema.record_id is not None and ids.seen is None and ids.doubled is None:
                    ids.note(rows.column(schema.record_id))
                ids.accepted += rows.num_rows
                yield rows

    def take_refused(self) -> tuple[int, Text]:
        """Number of rows refused since the last call, and their text, in a file if it is long."""
        count, self._refused = self._refused, 0
        if self._spilled is None:
            text, self._text = b"".join(self._text), []
            return count, text
        self._spill()
        path, self._spilled = self._spilled, None
        return count, Part(path, 0, Path(path).stat().st_size, last=True)

    def _refuse(self, file: str, refusals: Refusals) -> None:
        found = refusals.take()
        refused = found[self._skip :]
        self._skip = max(self._skip - len(found), 0)
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


@dataclass(frozen=True, slots=True)
class Spooled:
    """A morsel after the first pass: what check and remedy left of it (``screened``) and what they found.

    ``pure_ns`` is the work so far; ``refused`` rows, of which ``text`` says which, came before the morsel's last row.

    The morsel has no microflow where it only says what was refused behind the last accepted row.
    """

    morsel: Morsel
    screened: Released
    findings: Findings
    pure_ns: int = 0
    refused: int = 0
    text: Text = b""


def batches_of(file: IO[bytes]) -> Iterator[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    """The batches of an Arrow stream in order, one in memory at a time, with their metadata."""
    with pa.ipc.open_stream(file) as reader:
        while True:
            try:
                rows, metadata = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            yield rows, dict(metadata or {})


def lay(writer: pa.ipc.RecordBatchStreamWriter, spooled: Spooled) -> None:
    """Append one screened morsel to a spool."""
    morsel = spooled.morsel
    numbers = np.array([morsel.number, morsel.first_row, spooled.pure_ns, spooled.refused], np.int64)
    arrays = {"numbers": numbers, "microflow_ends": morsel.ends, "kept": spooled.screened.kept}
    arrays |= {name: getattr(spooled.findings, name) for name in _FINDINGS}
    metadata = {name: values.tobytes() for name, values in arrays.items()}
    if isinstance(spooled.text, Part):
        metadata |= {"refused_file": os.fsencode(spooled.text.path), "refused_bytes": str(spooled.text.stop).encode()}
    else:
        metadata |= {"quarantine": spooled.text}
    writer.write_batch(spooled.screened.rows, custom_metadata=metadata)


def pick_up(file: IO[bytes]) -> Iterator[Spooled]:
    """Batches that `lay` appended, in order."""
    for rows, metadata in batches_of(file):
        number, first_row, pure_ns, refused = np.frombuffer(metadata[b"numbers"], np.int64).tolist()
        ends, kept = (np.frombuffer(metadata[name], np.int64) for name in (b"microflow_ends", b"kept"))
        morsel = Morsel(number, first_row, ends, rows)
        found = (np.frombuffer(metadata[name.encode()], kind) for name, kind in _FINDINGS.items())
        screened, findings = Released(rows, kept, len(morsel)), Findings(len(morsel), *found)
        text: Text = metadata.get(b"quarantine", b"")
        if b"refused_file" in metadata:
            text = Part(os.fsdecode(metadata[b"refused_file"]), 0, int(metadata[b"refused_bytes"]), last=True)
        yield Spooled(morsel, screened, findings, pure_ns, refused, text)
