"""The dialect of delimited text, found by looking: encoding, delimiter, quote, header, blanks around values."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO

from microflow.schema import SourceFormat

__all__ = ["Dialect", "find_dialect", "looks_like_data"]

#: Looked at for everything but the encoding, which is checked over the whole file.
SAMPLE_BYTES = 2**18
_SAMPLE_ROWS = 200
_DELIMITERS = (",", ";", "\t", "|", "\x01", "\x1f", "¦", "§", "^", "~", " ", ":")
_UNDEFINED_IN_CP1252 = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])
_MOSTLY = 0.9

#: Numbers, dates, addresses: what stands in rows and hardly ever in a header.
_DATA = re.compile(
    r"[+\-$€£]?\s?[0-9][0-9.,/:\-\sTZ]*%?|[^@\s]+@[^@\s]+\.[a-z]+|\+?[0-9() .\-]{7,}|[0-9a-f]{8}-[0-9a-f]{4}-.*",
    re.IGNORECASE | re.ASCII,
)
_NAME = re.compile(r"[^\W\d][\w .\-/()#%&:'?]{0,79}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written, and the names in its header; without one its columns are ``column_1`` and so on."""

    source: SourceFormat
    header: tuple[str, ...]


def find_dialect(file: IO[bytes]) -> Dialect:
    """Look at a file of delimited text from where it stands to its end.

    The delimiter is the one that cuts the most rows into equally many fields, more fields winning; what cannot be
    found is the plain form (RFC 4180, UTF-8).
    """
    start = file.read(SAMPLE_BYTES)
    encoding = _encoding(start, file)
    lines = _lines(start, encoding, is_whole=len(start) < SAMPLE_BYTES)
    quote = _quote(lines)
    delimiter = max(_DELIMITERS, key=lambda sign: _regularity(lines, sign, quote))
    if _regularity(lines, delimiter, quote)[1] <= 1:
        delimiter = ","
    source = SourceFormat(delimiter=delimiter, quote=quote, encoding=encoding)
    rows = [row for row in _rows(lines, source) if row]
    if not rows:
        return Dialect(source, ())
    source = replace(source, trim=_is_padded(rows))
    rows = [[field.strip() for field in row] for row in rows] if source.trim else rows
    source = replace(source, header=_has_header(rows))
    width = Counter(map(len, rows)).most_common(1)[0][0]
    header = rows[0] if source.header else [f"column_{number}" for number in range(1, width + 1)]
    return Dialect(source, tuple(header))


def looks_like_data(text: str) -> bool:
    """Whether a text is a number, date or address rather than a name."""
    return _DATA.fullmatch(text.strip()) is not None


def _encoding(start: bytes, file: IO[bytes]) -> str:
    if start.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        return "utf-8"  # the mark itself says the rest
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, is_cp1252, chunk = True, True, start
    while chunk and (is_utf8 or is_cp1252):
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        is_cp1252 = is_cp1252 and not set(_UNDEFINED_IN_CP1252).intersection(chunk)
        chunk = file.read(SAMPLE_BYTES)
    return "utf-8" if is_utf8 else "cp1252" if is_cp1252 else "iso8859-1"


def _lines(start: bytes, encoding: str, *, is_whole: bool) -> list[str]:
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    text = start.decode(encoding, "replace").removeprefix("\ufeff").replace("\0", "")
    lines = list(io.StringIO(text, newline=""))  # splitlines would end lines at signs that are within values
    return lines if is_whole else lines[:-1]


def _quote(lines: Sequence[str]) -> str:
    """A single quote where fields are wrapped in those and no double one occurs."""
    text = "".join(lines[:_SAMPLE_ROWS])
    if '"' in text:
        return '"'
    wrapped = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n])", text, re.MULTILINE))
    return "'" if wrapped >= len(lines[:_SAMPLE_ROWS]) > 0 else '"'


def _rows(lines: Sequence[str], source: SourceFormat) -> list[list[str]]:
    reader = csv.reader(iter(lines), delimiter=source.delimiter, quotechar=source.quote)
    try:
        return list(islice(reader, _SAMPLE_ROWS))
    except csv.Error:
        return []


def _regularity(lines: Sequence[str], delimiter: str, quote: str) -> tuple[float, int]:
    """The share of rows with the commonest number of fields (0 where that is one), and that number."""
    widths = Counter(map(len, filter(None, _rows(lines, SourceFormat(delimiter=delimiter, quote=quote)))))
    if not widths:
        return 0.0, 0
    width, count = widths.most_common(1)[0]
    # A blank is within values as often as between them: it must cut every row alike.
    needed = 1.0 if delimiter in " :" else _MOSTLY
    share = count / widths.total()
    return (round(share, 1), width) if width > 1 and share >= needed else (0.0, width)


def _is_padded(rows: Sequence[Sequence[str]]) -> bool:
    """Whether most values behind a delimiter begin with a blank."""
    inner = [field for row in rows[1:] for field in row[1:] if field]
    return bool(inner) and sum(field[0] == " " for field in inner) > len(inner) / 2


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names: no data where the column holds data, or words that no row repeats."""
    first, body = rows[0], rows[1:]
    columns = [[row[place] for row in body if place < len(row) and row[place]] for place in range(len(first))]
    for_names = against = 0
    for name, values in zip(first, columns, strict=True):
        is_data = sum(map(looks_like_data, values)) > len(values) * _MOSTLY if values else False
        for_names += is_data and bool(name.strip()) and not looks_like_data(name)
        against += is_data and looks_like_data(name)
    if for_names or against:
        return for_names > against
    words = [name for name in first if name]
    are_names = all(_NAME.fullmatch(name.strip()) for name in words)
    repeats = any(name in values for name, values in zip(first, columns, strict=True) if name)
    return bool(words) and are_names and not repeats
