"""Output of a job: a file, a folder of parts, an address or standard output, with the quarantine beside it.

Plain CSV and JSON Lines are continued as they are; compressed text and Parquet are put together from what was settled
at the end. Where the job cannot be resumed, they are written at once, while workers are busy with the next splits. A
folder has one part a split, named by its number: workers write whole parts, which only change their place here.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from microflow.engine.reading import Part, Text
from microflow.engine.split_work import Piece
from microflow.pipeline.job import JobSpec
from microflow.pipeline.journal import MemoryJournal
from microflow.pipeline.partial import NOTHING, PIECE, PartialFile, Settled, partials, pieces_of, sha256_of, sync_folder
from microflow.settings import Retries
from microflow.sinks.whole_file import is_device, refused_as
from microflow.sinks.writers import RowSink, head_of, private, quarantine_head, remove, row_sink, text_of, written_to
from microflow.sources.files import STANDARD, compression_of, is_url

__all__ = ["Files", "FolderOutput", "Output", "drop_quarantine", "is_part"]

_PART = "part-"


class Files:
    """Files of a job: its output and its quarantine, settled together."""

    def __init__(
        self, job: JobSpec, schema: pa.Schema, journal: MemoryJournal, *, part: str, several: bool,
        retries: Retries | None,
    ) -> None:  # fmt: skip
        self._job = job.name

        def options(name: str) -> dict[str, Any]:
            start = tuple(journal.settled.get(name, NOTHING))
            return {"start": start, "durable": journal.is_resumable, "retries": retries}

        self.quarantine: PartialFile | None = None
        self.output: Output | FolderOutput
        if part:
            self.output = FolderOutput(job.output, part, schema, job.name)
        else:
            self.output = Output(job.output, schema, job.name, journal.attempt, **options("output"))
        try:
            if job.quarantine is not None:
                self.quarantine = PartialFile(job.quarantine, job.name, journal.attempt, **options("quarantine"))
                if "quarantine" not in journal.settled:
                    self.quarantine.add(quarantine_head(keep_raw=job.quarantine_raw, several=several))
        except BaseException:
            self.output.close(discard=not journal.is_resumable)
            raise

    def add(self, piece: Piece, split: int) -> None:
        """Take a piece's rows, and what says which were refused."""
        self.output.add(piece.body, split)
        if self.quarantine is not None:
            self.quarantine.add(piece.quarantine)

    def settle(self) -> dict[str, Settled]:
        """See that all is on the disk; returns lengths and hashes."""
        settled = {"output": self.output.settle()}
        if self.quarantine is not None:
            settled["quarantine"] = self.quarantine.settle()
        return settled

    def finish(self, *, refused: bool) -> None:
        """Put the files in their places; without a refused row there is no quarantine, nor an old one."""
        if self.quarantine is not None and refused:
            self.quarantine.finish()
        self.output.finish()
        if self.quarantine is not None and not refused:
            self.quarantine.close(discard=True)
            drop_quarantine(self.quarantine.path, self._job)

    def close(self, *, discard: bool) -> None:
        """Stop early."""
        self.output.close(discard=discard)
        if self.quarantine is not None:
            self.quarantine.close(discard=discard)


def drop_quarantine(path: Path, job: str) -> None:
    """Leave no quarantine where no row was refused: neither what the job wrote of one, nor one of an earlier job."""
    for partial in partials(path, job):
        partial.unlink(missing_ok=True)
    if not is_device(path):
        path.unlink(missing_ok=True)


class Output:
    """The released rows of a job on their way to a file, a folder, an address or standard output.

    Args:
        place: Where to; its suffix decides the format, ``-`` is standard output.
        schema: Of every batch.
        job: The job's name, and ``attempt`` the number of its attempt.
        start: What was settled before.
        durable: Whether the job can be resumed.
        retries: How long to wait for room on a full disk.
    """

    def __init__(
        self,
        place: Path | str,
        schema: pa.Schema,
        job: str,
        attempt: int = 0,
        *,
        start: Settled = NOTHING,
        durable: bool = False,
        retries: Retries | None = None,
    ) -> None:
        self._place, self._schema = place, schema
        self._text = text_of(place)
        self._converted = self._text == "arrow" or compression_of(place) is not None
        self._head = head_of(self._text, schema)
        #: Where rows wait for an output that is no file on this machine.
        self._waiting: tempfile.TemporaryDirectory[str] | None = None
        if str(place) == STANDARD or is_url(place):
            self._waiting = tempfile.TemporaryDirectory(prefix="microflow-")
            path = Path(self._waiting.name, "output")
        else:
            path = Path(place)
        self._file = PartialFile(path, job, attempt, start=start, durable=durable, retries=retries)
        self._sink: RowSink | None = None
        if self._converted and not durable:
            self._sink = row_sink(self._file.file, place, schema)
            self._sink.write(self._head)
        elif not start[0]:
            self._file.add(self._head)

    def add(self, body: Text | pa.RecordBatch, split: int = 0) -> None:  # noqa: ARG002 - the contract of an output
        """Take encoded rows.

        Raises:
            MicroflowError: the disk is full, or refuses otherwise.
        """
        if self._sink is None:
            self._file.add(_stream(body) if isinstance(body, pa.RecordBatch) else body)
            return
        with refused_as(self._place):
            for piece in _rows_of(body, self._text):
                self._sink.write(piece)
            if isinstance(body, Part) and body.last:
                Path(body.path).unlink()

    def settle(self) -> Settled:
        """See that all is written."""
        return self._file.settle() if self._sink is None else NOTHING

    def prepare(self) -> str:
        """Make the whole file, still under its partial name; returns its SHA-256 where that can be asked for again."""
        if self._sink is not None:
            with refused_as(self._place):
                self._sink.finish()
                self._file.file.flush()
            return ""
        length, checksum = self._file.settle()
        if not self._converted:
            return checksum
        self._convert(Part(str(self._file.partial), 0, length))
        return sha256_of(self._file.partial)

    def finish(self) -> None:
        """Put the whole file, which is prepared, in its place."""
        if self._waiting is None:
            self._file.finish()
            return
        with self._waiting, self._file.bodies() as file:
            if str(self._place) == STANDARD:
                shutil.copyfileobj(file, sys.stdout.buffer, PIECE)
                sys.stdout.buffer.flush()
            else:
                with written_to(str(self._place)) as target:
                    shutil.copyfileobj(file, target, PIECE)
        self._file.close(discard=False)

    def close(self, *, discard: bool) -> None:
        """Stop early."""
        if self._sink is not None:
            with suppress(OSError):
                self._sink.finish()  # else it would try when it is forgotten
        self._file.close(discard=discard)
        if self._waiting is not None:
            self._waiting.cleanup()

    def _convert(self, settled: Part) -> None:
        whole = self._file.partial.with_suffix(".whole")
        with refused_as(self._place):
            with private(whole) as file:
                sink = row_sink(file, self._place, self._schema)
                for piece in _rows_of(settled, self._text):
                    sink.write(piece)
                sink.finish()
                file.flush()
                os.fsync(file.fileno())
            self._file.replace(whole)


class FolderOutput:
    """The released rows of a job on their way to a folder.

    Args:
        place: The folder; one that is there has nothing in it but parts, which are replaced.
        part: What its parts are called, but for their numbers; the suffix decides their format.
        schema: Of every batch.
        job: The job's name.
    """

    def __init__(self, place: Path | str, part: str, schema: pa.Schema, job: str) -> None:
        self._place, self._name, self._schema = place, part, schema
        self._sink: RowSink | None = None
        self._file: IO[bytes] | None = None
        self._split = -1
        self._is_empty = True
        path = Path(str(place))
        self._target = None if is_url(place) else path
        with refused_as(path):
            #: Where parts wait; beside the folder, so that it takes a new name to put them in their place.
            self._hidden = Path(
                tempfile.mkdtemp(prefix=f".{path.name}.{job}.", dir=None if self._target is None else path.parent)
            )

    def add(self, body: Text | pa.RecordBatch, split: int) -> None:
        """Take encoded rows of a split, or its part file.

        Raises:
            MicroflowError: the disk is full, or refuses otherwise.
        """
        with refused_as(self._place):
            if isinstance(body, Part):
                if body.last:
                    shutil.move(body.path, self._part(split))
                    self._is_empty = False
                return
            if split != self._split:
                self._end_part()
                self._begin_part(split)
            assert self._sink is not None
            self._sink.write(body)

    def settle(self) -> Settled:
        """Do nothing: a folder is complete when the job is done."""
        return 0, ""

    def prepare(self) -> str:
        """End the last part; a job without a row has one part too, which says the columns."""
        if self._is_empty:
            self.add(b"", 0)
        self._end_part()
        return ""

    def finish(self) -> None:
        """Put the parts, which are prepared, in their place."""
        if self._target is None:
            remove(str(self._place), _PART)
            for part in sorted(self._hidden.iterdir()):
                with part.open("rb") as file, written_to(f"{str(self._place).rstrip('/')}/{part.name}") as target:
                    shutil.copyfileobj(file, target)
            shutil.rmtree(self._hidden)
            return
        with refused_as(self._target):
            if self._target.is_dir():
                for old in self._target.glob(f"{_PART}*"):
                    old.unlink()
                self._target.rmdir()
            self._hidden.rename(self._target)
            sync_folder(self._target.parent)

    def close(self, *, discard: bool) -> None:  # noqa: ARG002 - nothing can be resumed
        """Stop early."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        shutil.rmtree(self._hidden, ignore_errors=True)

    def _begin_part(self, split: int) -> None:
        self._split, self._is_empty = split, False
        self._file = private(self._part(split))
        self._sink = row_sink(self._file, self._name, self._schema)
        self._sink.write(head_of(text_of(self._name), self._schema))

    def _end_part(self) -> None:
        if self._sink is not None and self._file is not None:
            self._sink.finish()
            self._file.close()
        self._sink = self._file = None

    def _part(self, split: int) -> Path:
        return self._hidden / f"{_PART}{split:05d}{self._name[self._name.index('.') :]}"


def is_part(name: str) -> bool:
    """True if a file's name is that of a part.

    >>> is_part("part-00000.csv"), is_part("mine.csv")
    (True, False)
    """
    return name.startswith(_PART)


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _rows_of(body: Text | pa.RecordBatch, text: str) -> Iterator[bytes | pa.RecordBatch]:
    """Input of a sink: pieces of text, or the batches of Arrow streams, one after the other."""
    if isinstance(body, pa.RecordBatch):
        yield body
    elif isinstance(body, bytes) or text != "arrow":
        yield from pieces_of(body)
    else:
        with pa.OSFile(body.path) as file:
            file.seek(body.start)
            while file.tell() < body.stop:
                yield from pa.ipc.open_stream(file)
