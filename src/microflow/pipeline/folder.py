"""A folder as a job's output: one part a split, named by the split's number, so that no file is put together.

Workers write whole parts, which only change their place here; rows of this process are written here. The folder appears
whole or not at all; at an address its parts appear one after the other, when all of them are done.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import pyarrow as pa

from microflow.engine.reading import Part
from microflow.pipeline.output import Settled, sync_folder
from microflow.sinks.whole_file import refused_as
from microflow.sinks.writers import RowSink, head_of, private, remove, row_sink, text_of, written_to
from microflow.sources.files import is_url

__all__ = ["FolderOutput", "is_part"]

_PART = "part-"


def is_part(name: str) -> bool:
    """Whether a file's name is that of a part.

    >>> is_part("part-00000.csv"), is_part("mine.csv")
    (True, False)
    """
    return name.startswith(_PART)


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

    def add(self, body: bytes | pa.RecordBatch | Part, split: int) -> None:
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
        """Nothing: a folder is whole when the job is done."""
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
