"""Profile of a file, in one streaming pass: its dialect, and types, formats and values of each column.

The dialect of delimited text is found by looking: encoding, delimiter, quote, header, blanks around values. Candidates
for a column's type are struck out block by block; a type that is left holds for every value of the file.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, SourceFormat
from microflow.sources import Quarantine, read_microflows
from microflow.sources.columns import numbered
from microflow.sources.files import format_of, is_url, opened, readable
from microflow.sources.reader import column_names, list_names
from microflow.sources.tables import is_database, is_table, table_name

__all__ = ["ColumnProfile", "FileProfile", "looks_dated", "profile_file", "text_blocks"]

#: Looked at for everything but the encoding, which is checked over the whole file.
_SAMPLE_BYTES = 2**18
_SAMPLE_ROWS = 200
_DELIMITERS = (",", ";", "\t", "|", "\x01", "\x1f", "¦", "§", "^", "~", " ", ":")
_MOSTLY = 0.9
#: Byte order marks; those of UTF-32 begin like those of UTF-16.
_MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
}  # fmt: skip

#: Numbers, dates, addresses: what stands in rows and hardly ever in a header.
_DATA = re.compile(
    r"[+\-$€£]?\s?[0-9][0-9.,/:\-\sTZ]*%?|[^@\s]+@[^@\s]+\.[a-z]+|\+?[0-9() .\-]{7,}|[0-9a-f]{8}-[0-9a-f]{4}-.*",
    re.IGNORECASE | re.ASCII,
)
_NAME = re.compile(r"[^\W\d][\w .\-/()#%&:'?]{0,79}")


def _dialect(file: IO[bytes]) -> tuple[SourceFormat, tuple[str, ...]]:
    """Dialect of delimited text, from where a file stands to its end, and the names in its header.

    The delimiter is the one that cuts the most rows into equally many fields, more fields winning; what cannot be
    found is the plain form (RFC 4180, UTF-8). Without a header columns are named ``column_1`` and so on.
    """
    start = file.read(_SAMPLE_BYTES)
    encoding = _encoding(start, file)
    marked = next((name for name, marks in _MARKS.items() if start.startswith(marks)), encoding)
    text = start.decode(marked, "replace").removeprefix("\ufeff").replace("\0", "")
    lines = list(io.StringIO(text, newline=""))  # splitlines would end lines at signs that are within values
    lines = lines if len(start) < _SAMPLE_BYTES else lines[:-1]
    # A single quote where fields are wrapped in those and no double one occurs.
    looked_at = lines[:_SAMPLE_ROWS]
    wrapped = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n])", "".join(looked_at), re.MULTILINE))
    quote = "'" if wrapped >= len(looked_at) > 0 and not any('"' in line for line in looked_at) else '"'
    delimiter = max(_DELIMITERS, key=lambda sign: _regularity(lines, sign, quote))
    if _regularity(lines, delimiter, quote)[1] <= 1:
        delimiter = ","
    rows = list(filter(None, _rows(lines, delimiter, quote)))
    source = SourceFormat(delimiter=delimiter, quote=quote, encoding=encoding)
    if not rows:
        return source, ()
    inner = [field for row in rows[1:] for field in row[1:] if field]
    if inner and sum(field[0] == " " for field in inner) > len(inner) / 2:
        source = replace(source, trim=True)
        rows = [[field.strip() for field in row] for row in rows]
    if _has_header(rows):
        return source, tuple(rows[0])
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return replace(source, header=False), tuple(f"column_{number}" for number in range(1, width + 1))


def _encoding(start: bytes, file: IO[bytes]) -> str:
    if start.startswith((codecs.BOM_UTF8, *_MARKS["utf-32"], *_MARKS["utf-16"])):
        return "utf-8"  # the mark itself says the rest
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
    chunk = start
    while chunk and decoders:
        for name, decoder in list(decoders.items()):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                del decoders[name]
        chunk = file.read(_SAMPLE_BYTES)
    return next(iter(decoders), "iso8859-1")


def _rows(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    try:
        return list(islice(csv.reader(iter(lines), delimiter=delimiter, quotechar=quote), _SAMPLE_ROWS))
    except csv.Error:
        return []


def _regularity(lines: Sequence[str], delimiter: str, quote: str) -> tuple[float, int]:
    """The share of rows with the commonest number of fields (0 where that is one), and that number."""
    widths = Counter(map(len, filter(None, _rows(lines, delimiter, quote))))
    if not widths:
        return 0.0, 0
    width, count = widths.most_common(1)[0]
    # A blank is within values as often as between them: it must cut every row alike.
    needed = 1.0 if delimiter in " :" else _MOSTLY
    share = count / widths.total()
    return (round(share, 1), width) if width > 1 and share >= needed else (0.0, width)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """True if the first row holds names: no data where the column holds data, or words that no row repeats."""
    names, body = rows[0], rows[1:]
    columns = [[row[place] for row in body if place < len(row) and row[place]] for place in range(len(names))]
    votes = [
        1 if name.strip() and not _is_data(name) else -_is_data(name)
        for name, values in zip(names, columns, strict=True)
        if values and sum(map(_is_data, values)) > len(values) * _MOSTLY
    ]
    if any(votes):
        return sum(votes) > 0
    words = [name for name in names if name]
    are_names = all(_NAME.fullmatch(name.strip()) for name in words)
    repeats = any(name in values for name, values in zip(names, columns, strict=True) if name)
    return bool(words) and are_names and not repeats


def _is_data(text: str) -> bool:
    """True if a text is a number, date or address rather than a name."""
    return _DATA.fullmatch(text.strip()) is not None


#: Microflows looked at together: a look costs something before its first row.
_TOGETHER = 20
#: Rows whose values are kept (as hashes) to count distinct ones and those singled out.
MOST_ROWS = 5_000_000
_EXAMPLES = 1_000
#: Values of a block that strike out most candidates for a type.
_FEW = 100
_MOST_CATEGORIES = 50
#: Words and letters a value, on average, from which a text is prose.
_WORDS, _LETTERS = 5, 40
#: Spellings of nothing, and those that are nothing only in a column of numbers or dates.
_MISSING = ("\\N", "NULL", "null", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "?")
_MISSING_AMONG_NUMBERS = ("NA", "-", "--", ".", "None", "none", " ")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A way to write a type: ``pattern`` matches such a value as a whole."""

    dtype: Dtype
    format: str | None
    pattern: str


def _dated(written: str, dtype: Dtype) -> _Candidate:
    """A date format as a pattern that knows how many months and days there are."""
    parts = {
        "YYYY": "(?:1[6-9]|20|21)[0-9]{2}", "MMM": "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
        "MM": "(?:0[1-9]|1[0-2])", "M": "(?:0?[1-9]|1[0-2])", "DD": "(?:0[1-9]|[12][0-9]|3[01])",
        "D": "(?:0?[1-9]|[12][0-9]|3[01])", "HH": "(?:[01][0-9]|2[0-3])", "H": "(?:[01]?[0-9]|2[0-3])",
        "hh": "(?:0[1-9]|1[0-2])", "h": "(?:0?[1-9]|1[0-2])", "mm": "[0-5][0-9]", "ss": "[0-5][0-9]", "S": "[0-9]{1,9}",
        "a": "(?:AM|PM)", "Z": "(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})", "T": "T",
    }  # fmt: skip
    tokens = re.findall("|".join(sorted(parts, key=len, reverse=True)) + "|.", written)
    pattern = "".join(parts.get(token, re.escape(token)) for token in tokens)
    return _Candidate(dtype, written, f"(?i)^{pattern}$")


_ISO_DAY = "(?:1[6-9]|20|21)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MIDNIGHT = r"(?:[T ]00:00:00(?:\.0+)?)?"
_ISO_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_DAYS = (
    "MM/DD/YYYY", "DD/MM/YYYY", "M/D/YYYY", "D/M/YYYY", "YYYY/MM/DD", "DD.MM.YYYY", "D.M.YYYY", "DD-MM-YYYY",
    "MM-DD-YYYY", "DD-MMM-YYYY", "D MMM YYYY", "DD MMM YYYY", "MMM D, YYYY", "YYYYMMDD",
)  # fmt: skip
#: The beginning of a date whose day and month may stand the other way round.
_MONTH_FIRST = re.compile("^(MM?)([/-])(DD?)")
_CLOCKS = ("HH:mm:ss", "HH:mm", "H:mm", "hh:mm:ss a", "h:mm:ss a", "hh:mm a", "h:mm a")
#: In the order of preference where several are left; a plain form first.
_CANDIDATES = (
    _Candidate(Dtype.INTEGER, None, r"^[+-]?(?:0|[1-9][0-9]{0,17})(?:\.0*)?$"),
    _Candidate(Dtype.NUMBER, None, r"^[+-]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?$"),
    _Candidate(Dtype.NUMBER, "$1,234.50", r"^\(?-?[$€£]\s?-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?\)?$"),
    _Candidate(Dtype.NUMBER, "1,234.50", r"^-?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|0|[1-9][0-9]*)(?:\.[0-9]+)?$"),
    _Candidate(Dtype.NUMBER, "1.234,50", r"^-?(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|0|[1-9][0-9]*)(?:,[0-9]+)?$"),
    _Candidate(Dtype.NUMBER, "12.5%", r"^-?[0-9]+(?:\.[0-9]+)?\s?%$"),
    _Candidate(Dtype.BOOLEAN, None, "(?i)^(?:true|false|yes|no|t|f|y|n)$"),
    _Candidate(Dtype.DATE, None, f"^(?:{_ISO_DAY}{_MIDNIGHT}|(?:1[6-9]|20|21)[0-9]{{2}}(?:-(?:0[1-9]|1[0-2]))?)$"),
    _Candidate(Dtype.TIMESTAMP, None, f"^{_ISO_DAY}[T ]{_ISO_CLOCK}(?: ?(?:Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?$"),
    _Candidate(Dtype.TIME, None, f"^{_ISO_CLOCK}$"),
    *(_dated(day, Dtype.DATE) for day in _DAYS),
    *(_dated(f"{day} {clock}", Dtype.TIMESTAMP) for day in _DAYS[:9] for clock in _CLOCKS),
)  # fmt: skip


def looks_dated(text: str) -> bool:
    """True if a text is a date or time stamp in one of the known forms."""
    patterns = (way.pattern for way in _CANDIDATES if way.dtype in {Dtype.DATE, Dtype.TIMESTAMP})
    return any(re.match(pattern, text, re.IGNORECASE) for pattern in patterns)


@dataclass
class ColumnProfile:
    """Profile of a column: counts over the whole file; ``examples`` are distinct values of its first rows."""

    name: str
    rows: int = 0
    missing: int = 0
    letters: int = 0
    words: int = 0
    looked_at: int = 0
    low: float | None = None
    high: float | None = None
    candidates: list[_Candidate] = field(default_factory=lambda: list(_CANDIDATES))
    examples: list[str] = field(default_factory=list)
    spellings: Counter[str] = field(default_factory=Counter)
    hashes: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Counter[str] | None = field(default_factory=Counter)
    distinct: int = 0

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def dtype(self) -> Dtype:
        """The type that every value has."""
        return self.candidates[0].dtype if self.present and self.candidates else Dtype.STRING

    @property
    def format(self) -> str | None:
        """Format of the type, or ``None`` for the plain form."""
        return self.candidates[0].format if self.present and self.candidates else None

    @property
    def is_ambiguous(self) -> bool:
        """True if all dates fit with day and month swapped, or all numbers with another decimal sign."""
        formats = {candidate.format or "" for candidate in self.candidates if candidate.dtype is self.dtype}
        return (self.format == "1,234.50" and "1.234,50" in formats) or any(
            _MONTH_FIRST.match(form) and _MONTH_FIRST.sub(r"\3\2\1", form) in formats for form in formats
        )

    @property
    def is_unique(self) -> bool:
        """True if no value occurs twice."""
        return 0 < self.present == self.distinct

    @property
    def is_prose(self) -> bool:
        """True if values have many words, judged by some values of each part of the file."""
        return self.words >= _WORDS * self.looked_at and self.letters >= _LETTERS * self.looked_at


@dataclass(frozen=True)
class FileProfile:
    """Profile of a file: its dialect, its columns in order, and the number of unreadable rows."""

    path: Path | str
    source: SourceFormat
    columns: tuple[ColumnProfile, ...]
    rows: int
    refused: int
    left_out: tuple[str, ...] = ()
    """Columns of lists, which are no single values."""

    @property
    def name(self) -> str:
        """Name for readers: that of the file, or of the table."""
        return table_name(str(self.path)) if is_database(self.path) else Path(self.path).name


def profile_file(path: Path | str, sheet: str = "") -> FileProfile:
    """Read a file of any format that `microflow run` reads, once, keeping no more than hashes of its values.

    Args:
        path: The file.
        sheet: Which one of a spreadsheet, where several hold rows.

    Raises:
        InputError: the file cannot be read, or holds no column.
    """
    source, found = _written(path, sheet)
    lists = list_names(path)
    names = tuple(name for name in found if name not in lists)
    if not names:
        raise InputError("there is nothing to describe", path=path)
    schema = DatasetSchema(
        "described", tuple(map(Column, names)), policy="combined", source=source, others="drop" if lists else "refuse"
    )
    profiles = tuple(map(ColumnProfile, names))
    hashes: list[list[npt.NDArray[np.uint64]]] = [[] for _ in names]
    rows = 0
    quarantine = Quarantine()
    for block in text_blocks(path, schema, quarantine):
        for place, profile in enumerate(profiles):
            values = cast("pl.Series", pl.from_arrow(block.column(place)))
            _take(profile, values)
            if rows < MOST_ROWS:
                hashes[place].append(values.hash(seed=1).to_numpy())
        rows += block.num_rows
    if not rows:
        quarantine.require_none(path)
    for profile, parts in zip(profiles, hashes, strict=True):
        profile.hashes = np.concatenate(parts) if parts else profile.hashes
        profile.distinct = pl.Series(profile.hashes).n_unique() - (profile.missing > 0)
        # What a column that turned out to be text only seemed to spell as missing is a value.
        for spelling in _MISSING_AMONG_NUMBERS if profile.dtype is Dtype.STRING else ():
            profile.spellings.pop(spelling, None)
        counts: dict[str, int] = profile.counts or {}
        for spelling in profile.spellings:
            counts.pop(spelling, None)
    missing = frozenset(spelling for profile in profiles for spelling in profile.spellings)
    return FileProfile(path, replace(source, missing=missing), profiles, rows, quarantine.total, lists)


def text_blocks(path: Path | str, schema: DatasetSchema, quarantine: Quarantine) -> Iterator[pa.Table]:
    """The rows of a file, some thousands at a time."""
    flows = read_microflows(path, schema, quarantine=quarantine)
    while some := list(islice(flows, _TOGETHER)):
        yield pa.Table.from_batches([flow.rows for flow in some])


def _written(path: Path | str, sheet: str) -> tuple[SourceFormat, tuple[str, ...]]:
    """Format of a file, and the names of its columns, of which none occurs twice."""
    if not is_url(path) and Path(path).is_dir():
        raise InputError("this is a directory", path=path, hint="give its files")
    if is_table(path) or format_of(path) != "csv":
        source = SourceFormat(sheet=sheet)
        return source, tuple(column_names(path, source))
    with readable(path), opened(str(path)) as file:
        found, names = _dialect(file)
    plain = replace(found, delimiter="")
    return plain if plain.of(path) == found else found, tuple(numbered(names))


def _take(profile: ColumnProfile, values: pl.Series) -> None:
    """Count a block of one column's values in."""
    profile.rows += len(values)
    found = values.drop_nulls()
    is_missing = found.is_in(list(_MISSING))
    if is_missing.any():
        profile.spellings.update(found.filter(is_missing).to_list())
        found = found.filter(~is_missing)
    profile.missing += len(values) - len(found)
    if found.is_empty():
        return
    some = found.head(_FEW)
    profile.looked_at += len(some)
    profile.letters += int(some.str.len_chars().sum())
    profile.words += int(some.str.count_matches(r"\S+").sum())
    if len(profile.examples) < _EXAMPLES:
        profile.examples = list(dict.fromkeys([*profile.examples, *found.head(_EXAMPLES).to_list()]))[:_EXAMPLES]
    _strike(profile, found)
    if profile.counts is not None:  # there are few distinct ones up to here
        counted = found.value_counts()
        profile.counts.update(dict(zip(counted[:, 0].to_list(), counted[:, 1].to_list(), strict=True)))
        profile.counts = profile.counts if len(profile.counts) <= _MOST_CATEGORIES else None


def _strike(profile: ColumnProfile, found: pl.Series) -> None:
    """Strike out the types that some value is not of; what only numbers spell as missing is taken for that."""
    left = _left(profile.candidates, found)
    if not left and profile.candidates:
        is_missing = found.is_in(list(_MISSING_AMONG_NUMBERS))
        rest = found.filter(~is_missing)
        if 0 < len(rest) < len(found):
            left = [candidate for candidate in _left(profile.candidates, rest) if candidate.dtype is not Dtype.BOOLEAN]
        if left:
            profile.spellings.update(found.filter(is_missing).to_list())
            profile.missing += int(is_missing.sum())
            found = rest
    profile.candidates = left
    if left and left[0].dtype in {Dtype.INTEGER, Dtype.NUMBER} and left[0].format is None:
        numbers = found.cast(pl.Float64, strict=False)
        low, high = cast("float", numbers.min()), cast("float", numbers.max())
        profile.low = low if profile.low is None else min(low, profile.low)
        profile.high = high if profile.high is None else max(high, profile.high)


def _left(candidates: list[_Candidate], found: pl.Series) -> list[_Candidate]:
    """The candidates that all values are of; a few values strike out most."""
    for values in (found.head(_FEW), found):
        candidates = [candidate for candidate in candidates if values.str.contains(candidate.pattern).all()]
    return candidates
