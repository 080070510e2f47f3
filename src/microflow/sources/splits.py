"""A bounded source as a list of splits: independent pieces that begin and end at a record.

Delimited text and JSON Lines are cut at bytes, Parquet at row groups, a folder at files. Where a record ends is found
by counting quotes and line ends over whole buffers, without parsing. That is exact as long as the quotes are regular
(each opens a field, closes one, or is half of a doubled one) and rows of several lines have the right number of fields:
from the first place where they are not, what is left of the file is one split, which the reader works out line by line.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from microflow.errors import InputError
from microflow.schema import DatasetSchema
from microflow.sources.delimited import are_regular, header_of
from microflow.sources.files import (
    Identity,
    compression_of,
    files_of,
    identity_of,
    input_format,
    is_url,
    opened,
    packed,
    readable,
)
from microflow.sources.json_lines import is_one_value
from microflow.sources.lines import LONGEST_LINE, MOST_LINES, Feed
from microflow.sources.parquet import group_rows
from microflow.sources.tables import is_database, is_table

__all__ = ["SPLIT_BYTES", "Source", "Split"]

#: Bytes of text in a split: some morsels, so that workers share the last ones out and a part is a small file.
SPLIT_BYTES = 2**23
#: Rows of Parquet that take as long.
_BYTES_A_ROW = 128
_SCAN_BYTES = 2**22
_HEAD_BYTES = 1_000
_LF, _CR, _QUOTE = b"\n"[0], b"\r"[0], b'"'[0]
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Records of one file from ``start`` to before ``stop`` (bytes, or row groups of Parquet; ``None``: its end).

    ``first_line`` is the number of its first line (row, for Parquet) in the file, from 1. ``header`` are the columns of
    delimited text in the file's order; ``None`` where the split begins with the file and reads the header itself.
    """

    number: int
    file: str
    kind: str
    start: int = 0
    stop: int | None = None
    first_line: int = 1
    header: tuple[str, ...] | None = None


class Source:
    """The splits of a place, found in one pass over it that may run beside the work on the first ones.

    Args:
        place: A file, folder, pattern, address or ``-``.
        schema: What its columns mean.
        split_bytes: How large a split is at least, in bytes of text.

    Raises:
        InputError: there is nothing, or something of an unknown format.
    """

    def __init__(self, place: object, schema: DatasetSchema, *, split_bytes: int = SPLIT_BYTES) -> None:
        self.place = str(place)
        self._schema = schema
        self._split_bytes = max(split_bytes, 1)
        self.files = files_of(self.place)
        self._identities: dict[str, Identity | None] = {file: identity_of(file) for file in self.files}
        self._kinds = {file: input_format(file) for file in self.files}

    @property
    def is_several(self) -> bool:
        """True if rows come from more than one file, so that a line number alone names no line."""
        return len(self.files) > 1

    @property
    def is_one_split(self) -> bool:
        """True for one compressed file or table: a second worker cannot help, and all results come at once."""
        return len(self.files) == 1 and (is_table(self.files[0]) or compression_of(self.files[0]) is not None)

    @property
    def size(self) -> int | None:
        """Bytes of all files; ``None`` where that cannot be known."""
        known = [found[2] for found in self._identities.values() if found is not None]
        return sum(known) if len(known) == len(self.files) else None

    @property
    def is_repeatable(self) -> bool:
        """True if the source can be read a second time."""
        addresses = (file for file, found in self._identities.items() if found is None)
        return all(is_url(file) and not is_database(file) for file in addresses)

    def splits(self) -> Iterator[Split]:
        """All splits in order."""
        number = 0
        for file in self.files:
            for split in self._of_file(file, number):
                yield split
                number = split.number + 1

    def sha256(self) -> str:
        """The checksum of all files, by which a resumed job knows its input again.

        Raises:
            InputError: one cannot be read.
        """
        checksum = hashlib.sha256()
        for file in self.files:
            with readable(file), packed(file) as opened_file:
                while piece := opened_file.read(_SCAN_BYTES):
                    checksum.update(piece)
        return checksum.hexdigest()

    def refuse_changes(self) -> None:
        """See that no file was changed since the source was made.

        Raises:
            InputError: one was.
        """
        for file, before in self._identities.items():
            if before is not None and identity_of(file) != before:
                raise InputError(
                    "the input was changed while it was read",
                    path=file,
                    hint="run again on a copy that no program writes to",
                )

    def _of_file(self, file: str, number: int) -> Iterator[Split]:
        kind = self._kinds[file]
        whole = Split(number, file, kind)
        identity = self._identities[file]
        if (identity is None and not is_url(file)) or is_table(file) or compression_of(file):
            yield whole
        elif kind == "parquet":
            yield from self._of_groups(whole)
        elif identity is not None and identity[2] <= self._split_bytes:
            yield whole
        else:
            with opened(file) as opened_file:
                yield from self._of_text(whole, opened_file)

    def _of_groups(self, whole: Split) -> Iterator[Split]:
        rows = group_rows(whole.file)
        number, first_row, start = whole.number, 1, 0
        while start < len(rows) or number == whole.number:
            stop, taken = start, 0
            while stop < len(rows) and (stop == start or (taken + rows[stop]) * _BYTES_A_ROW <= self._split_bytes):
                taken += rows[stop]
                stop += 1
            yield Split(number, whole.file, whole.kind, start, stop, first_row)
            number, first_row, start = number + 1, first_row + taken, stop

    def _of_text(self, whole: Split, file: IO[bytes]) -> Iterator[Split]:
        header: tuple[str, ...] | None = None
        start, line = 0, 1
        scan: _Scan = _end_of_line
        if whole.kind == "csv":
            feed = Feed(file, self._schema.source.encoding)
            source = self._schema.source.of(whole.file)
            if feed.is_converted or source.quote != '"' or not source.delimiter.isascii():
                yield whole
                return
            header, lines = header_of(feed, whole.file, self._schema)
            start, line = feed.mark + feed.taken, 1 + lines
            file.seek(start)
            scan = _row_ends(ord(source.delimiter), len(header))
        else:
            head = file.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
            file.seek(0)
            # No line end separates records in one value. What begins with many blanks may be one.
            if not head.strip() or is_one_value(head.partition(b"\n")[0], whole.file):
                yield whole
                return
        number = whole.number
        for cut, lines in _cuts(file, start, self._split_bytes, scan):
            yield Split(number, whole.file, whole.kind, start, cut, line, header)
            number, start, line = number + 1, cut, line + lines
        yield Split(number, whole.file, whole.kind, start, None, line, header)


#: Of whole lines, whose first begins a record: positions behind the records' last bytes, and behind the line ends (both
#: ascending); ``None`` if no end is certain. A last record that is not whole is left out.
_Scan = Callable[[bytes], tuple[_Positions, _Positions] | None]


def _cuts(file: IO[bytes], start: int, split_bytes: int, scan: _Scan) -> Iterator[tuple[int, int]]:
    """Ends of splits behind ``start``, and the line ends in each; what is behind the last cut is the last split."""
    kept, base, begin, lines = b"", start, start, 0
    while piece := file.read(_SCAN_BYTES):
        kept += piece
        if len(kept) > 4 * LONGEST_LINE:
            return
        whole = kept.rfind(b"\n") + 1
        found = scan(kept[:whole]) if whole else None
        if whole and found is None:
            return
        if found is None or not len(found[0]):
            continue
        ends, line_ends = found
        done = 0  # line ends before this one belong to splits that are cut off
        while begin + split_bytes <= base + int(ends[-1]):
            end = int(ends[np.searchsorted(ends, begin + split_bytes - base)])
            if end == len(kept) and len(piece) < _SCAN_BYTES:
                return  # the last record ends the file
            upto = int(np.searchsorted(line_ends, end, side="right"))
            yield base + end, lines + upto - done
            begin, lines, done = base + end, 0, upto
        last = int(ends[-1])
        lines += int(np.searchsorted(line_ends, last, side="right")) - done
        kept, base = kept[last:], base + last


def _end_of_line(text: bytes) -> tuple[_Positions, _Positions]:
    """JSON Lines: a record ends with LF, and with nothing else."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _LF) + 1
    return ends, ends


def _row_ends(delimiter: int, width: int) -> _Scan:
    """Delimited text of so many columns."""

    def scan(text: bytes) -> tuple[_Positions, _Positions] | None:
        signs = np.frombuffer(text, np.uint8)
        feeds = line_ends = np.flatnonzero(signs == _LF) + 1
        if b"\r" in text:
            returns = np.flatnonzero(signs == _CR)
            alone = returns[signs[np.minimum(returns + 1, len(signs) - 1)] != _LF]
            line_ends = np.sort(np.concatenate([line_ends, alone + 1])) if len(alone) else line_ends
        if b'"' not in text:
            return feeds, line_ends
        quotes = np.flatnonzero(signs == _QUOTE)
        is_inside = np.searchsorted(quotes, line_ends) % 2 == 1  # an odd number of quotes stands before
        outside = line_ends[~is_inside]
        ends = outside if feeds is line_ends else outside[signs[outside - 1] == _LF]
        if len(ends) and not are_regular(signs, quotes[quotes < ends[-1]], delimiter):
            return None
        last = int(ends[-1]) if len(ends) else 0
        inside = line_ends[is_inside & (line_ends <= last)]
        if len(inside):
            # Rows that go over a line end inside of quotes must have the right number of fields, and not be overlong.
            delimiters = np.flatnonzero(signs[:last] == delimiter)
            delimiters = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
            rows = outside[outside <= last]
            begins = np.concatenate([[0], rows[:-1]])
            several = np.unique(np.searchsorted(rows, inside))
            counts = np.searchsorted(delimiters, rows[several]) - np.searchsorted(delimiters, begins[several])
            if (counts != width - 1).any() or (rows[several] - begins[several] > MOST_LINES).any():
                return None
        return ends, line_ends

    return scan
