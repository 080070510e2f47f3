"""JSON: an object a line (JSON Lines), or one array of objects; what is no object is refused.

The fields of a nested object are columns ``a.b``. A block in which every value already has its column's type is
converted a column at a time; any other, record by record.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.errors import InputError
from microflow.records import UnconvertibleError, convert
from microflow.schema import Column, DatasetSchema, Dtype, Record, SourceFormat
from microflow.sources.columns import Block, Refusals, cleaned, is_text, typed_column
from microflow.sources.lines import CHUNK_BYTES, LONGEST_LINE

__all__ = ["UnreadableError", "is_one_value", "json_names", "read_json_lines", "read_message", "read_messages"]

#: Lines converted at a time: one that is broken slows down the others of its block. Long ones fill a block earlier.
BLOCK_LINES, BLOCK_BYTES = 5_000, 2 * LONGEST_LINE
#: What JSON gives for a value that needs no conversion.
_EXACT: dict[Dtype, set[type]] = {
    Dtype.STRING: {str},
    Dtype.INTEGER: {int},
    Dtype.NUMBER: {int, float},
    Dtype.BOOLEAN: {bool},
    Dtype.DATE: {str},
    Dtype.TIME: {str},
    Dtype.TIMESTAMP: {str},
}

#: A colon that stands apart from its key, and escapes of a NUL or of half a surrogate pair; before each its beginning,
#: which is found, or most often is not, much faster.
_NOT_PLAIN = (
    *((space, space + b":") for space in (b" ", b"\t", b"\r", b"\n")),
    *((b"\\u", sign) for sign in (b"\\u0000", b"\\ud", b"\\uD")),
)
#: What some writers put where JSON has no number.
_CONSTANTS = frozenset({"NaN", "Infinity", "-Infinity"})
Line = tuple[int, bytes]
#: What the shape of an array depends on; an escaped sign means nothing.
_SIGNS = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_JSON = re.compile(r"\.json(?:\.gz|\.zst)?$", re.IGNORECASE)
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


def read_json_lines(
    file: IO[bytes],
    place: str,
    schema: DatasetSchema,
    refusals: Refusals,
    *,
    first_line: int = 1,
    is_whole: bool = True,
) -> Iterator[Block]:
    """Blocks of typed rows; absent keys are missing values.

    Unknown keys refuse the record unless ``schema.others`` lets them be. In an array records are numbered from 1.
    ``first_line`` is the number of the line at which the file is read; a part of one may be empty (``is_whole=False``).

    Raises:
        InputError: the file holds nothing at all.
    """
    lines = _lines(file, place, first_line, refusals, is_whole=is_whole)
    while block := _block(lines):
        columns = _plain_columns([raw for _, raw in block], schema)
        if columns is not None:
            yield Block(np.array([number for number, _ in block], np.int64), columns)
        else:
            yield _checked(block, schema, refusals)


def read_message(raw: bytes, schema: DatasetSchema) -> Record:
    """One JSON object as a record, by the same rules as a line of a file.

    Raises:
        UnreadableError: it is no such object; the reason holds no value.
    """
    try:
        found = _decoder(schema.source.missing)(raw.decode().strip())
        return _record(found, frozenset(schema.names), schema)
    except UnreadableError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableError("", "not a JSON object") from None


def read_messages(raws: Sequence[bytes], schema: DatasetSchema) -> pa.RecordBatch | None:
    """JSON objects as rows, by the same rules; ``None`` where one of them needs a closer look: see `read_message`."""
    columns = _plain_columns(raws, schema)
    return None if columns is None else pa.RecordBatch.from_pydict(columns, schema.arrow)


def json_names(file: IO[bytes], *, lists: bool = False) -> tuple[str, ...]:
    """The names of the values in the first block of records, or of its ``lists``, in the order in which they occur."""
    names: dict[str, None] = {}
    for _, raw in _block(_lines(file, "", 1, Refusals(), is_whole=False)):
        try:
            found = _decoder(frozenset())(raw.decode())
            if isinstance(found, dict):
                flat = _flattened(found, frozenset()).items()
                names.update({name: None for name, value in flat if not lists or isinstance(value, list)})
        except (ValueError, RecursionError):
            continue  # the reader will quarantine it
    parents = _parents(frozenset(names))
    return tuple(name for name in names if name not in parents)


def is_one_value(line: bytes, place: str) -> bool:
    """True if the first line of a file begins an array, or in a ``.json`` file an object over several lines."""
    return line.lstrip().startswith(b"[") or (line.strip() == b"{" and _JSON.search(place) is not None)


def _lines(file: IO[bytes], place: str, first: int, refusals: Refusals, *, is_whole: bool) -> Iterator[Line]:
    """Lines that are not blank, with their numbers; or the elements of an array, with theirs. Long ones are refused."""
    number, is_empty = first, True
    while raw := file.readline(LONGEST_LINE + 1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if number == 1 and raw.startswith(_UTF16):
            hint = "convert the file, for instance with iconv -f utf-16 -t utf-8"
            raise InputError("JSON is UTF-8 text, and this is UTF-16", path=place or None, hint=hint)
        if number == 1 and is_one_value(line, place):
            # One object over several lines is what an array of one holds.
            first_piece = line if line.lstrip().startswith(b"[") else b"[" + line
            yield from enumerate(_elements(chain([first_piece], iter(lambda: file.read(CHUNK_BYTES), b""))), 1)
            return
        if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass
            refusals.add(number, "", f"a line of more than {LONGEST_LINE:,} bytes")
        elif line.strip():
            is_empty = False
            yield number, line
        number += 1
    if is_empty and is_whole and not refusals.rows:
        raise InputError("the file is empty", path=place)


def _block(lines: Iterator[Line]) -> list[Line]:
    """The next lines, as many as are converted at a time."""
    block: list[Line] = []
    size = 0
    for line in islice(lines, BLOCK_LINES):
        block.append(line)
        size += len(line[1])
        if size > BLOCK_BYTES:
            break
    return block


def _elements(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The text of each element of an array; what follows its end counts as one more.

    Brackets are counted outside of strings and nothing is parsed, so that one broken element stays alone.
    """
    depth, is_text, parts, size = 0, False, list[bytes](), 0
    for piece in pieces:
        begin = 0
        for match in _SIGNS.finditer(piece):
            sign = match[0]
            if sign == b'"':
                is_text = not is_text
            if is_text or len(sign) > 1:
                continue
            depth += (sign in _OPENING) - (sign in _CLOSING)
            if (depth == 1 and sign == b",") or (depth == 0 and sign == b"]"):
                parts.append(piece[begin : match.start()])
                yield from _not_blank(parts)
                parts, size, begin = [], 0, match.end()
            elif depth == 1 and sign == b"[":
                begin = match.end()
        parts.append(piece[begin:])
        size += len(parts[-1])
        if size > LONGEST_LINE:  # no honest record is longer: what stays of it is no JSON, and is refused as such
            parts, size = [b"!"], 1
    yield from _not_blank(parts)


def _not_blank(parts: list[bytes]) -> Iterator[bytes]:
    if element := b"".join(parts).strip():
        yield element


def _plain_columns(raws: Sequence[bytes], schema: DatasetSchema) -> dict[str, pa.Array] | None:
    """The lines as columns, or ``None`` if any of them needs a closer look."""
    names = frozenset(schema.names)
    try:
        parse = _quick(schema.source.missing)
        found = [parse(raw) for raw in raws]
        whole = b" ".join(raws)
        if any(begin in whole and sign in whole for begin, sign in _NOT_PLAIN) or not set(map(type, found)) <= {dict}:
            return None
        # Where no colon stands apart, no object has fewer of them than keys: it is enough that the sums agree.
        if whole.count(b'":') != sum(map(len, found)):
            return None  # some key stands there twice
        if schema.others == "refuse" and not all(map(names.issuperset, found)):
            return None
        columns = zip(schema.columns, _columns(found, schema.names), strict=True)
        return {column.name: _exact(values, column, schema.source) for column, values in columns}
    except (ValueError, OverflowError, RecursionError):
        return None


def _columns(found: list[dict[str, Any]], names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """The values of each name; in one sweep where every object has every name, which is the rule."""
    if len(names) > 1 and found:
        try:
            return zip(*map(itemgetter(*names), found), strict=True)
        except KeyError:
            pass
    return ([record.get(name) for record in found] for name in names)


def _exact(values: Sequence[Any], column: Column, source: SourceFormat) -> pa.Array:
    """Values that are of the column's type as they are.

    Raises:
        ValueError: some value is not.
    """
    if not set(map(type, values)) <= _EXACT[column.dtype] | {type(None)}:
        raise UnconvertibleError("not of the column's type")
    array = pa.array(values, column.dtype.arrow)
    if array.type != pa.string():
        if source.missing:  # a number may spell a missing value
            raise UnconvertibleError("perhaps missing")
        if column.dtype is Dtype.NUMBER:
            if pc.all(pc.is_finite(array)).as_py() is False:
                raise UnconvertibleError("not a finite number")
            return pc.add(array, 0.0)  # there is one zero: -0.0 + 0.0 is 0.0
        return array
    text, failures = typed_column(cleaned(array, source), column)
    if failures:
        raise UnconvertibleError("not of the column's type")
    return text


def _checked(block: list[Line], schema: DatasetSchema, refusals: Refusals) -> Block:
    """The lines one by one, those at fault refused."""
    accepted: list[tuple[int, Record]] = []
    for number, raw in block:
        try:
            accepted.append((number, read_message(raw, schema)))
        except UnreadableError as fault:
            refusals.add(number, fault.column, fault.reason, raw.decode(errors="replace").rstrip("\r\n"))
    columns = {
        column.name: pa.array([record[column.name] for _, record in accepted], column.dtype.arrow)
        for column in schema.columns
    }
    return Block(np.array([number for number, _ in accepted], np.int64), columns)


def _record(found: Any, names: frozenset[str], schema: DatasetSchema) -> Record:
    if not isinstance(found, dict):
        raise UnreadableError("", "not a JSON object")
    if any(isinstance(value, dict) for value in found.values()):
        found = _flattened(found, names)
    if schema.others == "refuse" and (unknown := found.keys() - names):
        # Where an object is missing as a whole, so are its fields.
        unknown = {name for name in unknown if found[name] is not None or name not in _parents(names)}
        if unknown:
            raise UnreadableError(min(unknown), "the schema does not describe it")
    source, record = schema.source, Record()
    for column in schema.columns:
        value = found.get(column.name)
        try:
            value = convert(_unless_missing(value, source), column)
        except UnconvertibleError as error:
            reason = "a list or an object, and no single value" if isinstance(value, list | dict) else str(error)
            raise UnreadableError(column.name, reason) from None
        if isinstance(value, str) and ("\0" in value or not is_text(value)):
            raise UnreadableError(column.name, "a NUL character or half a surrogate pair")
        record[column.name] = value
    return record


def _flattened(found: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The record with the fields of nested objects as ``a.b``, however deep; an empty object is nothing."""
    flat: dict[str, Any] = {}
    left = [iter(found.items())]
    ways = [""]
    while left:
        for name, value in left[-1]:
            way = ways[-1] + name
            if isinstance(value, dict) and way not in names:
                left.append(iter(value.items()))
                ways.append(f"{way}.")
                break
            if way in flat:
                raise UnreadableError(way, "named twice")
            flat[way] = value
        else:
            left.pop()
            ways.pop()
    return flat


def _unless_missing(value: Any, source: SourceFormat) -> Any:
    if isinstance(value, str) and source.trim:
        value = value.strip()
    if not source.missing or value is None or isinstance(value, list | dict):
        return value
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return None if text in source.missing else value


@lru_cache(maxsize=100)
def _parents(names: frozenset[str]) -> frozenset[str]:
    """The objects that hold the nested ones of these names: ``a`` and ``a.b`` of ``a.b.c``."""
    return frozenset(name[:place] for name in names for place, sign in enumerate(name) if sign == ".")


def _only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise UnreadableError(next(name for name in names if names.count(name) > 1), "named twice")
    return found


@lru_cache(maxsize=100)
def _decoder(missing: frozenset[str]) -> Callable[[str], Any]:
    """Reader of JSON that sees double keys; NaN and Infinity are none unless they spell a missing value."""
    return json.JSONDecoder(parse_constant=_constant(missing), object_pairs_hook=_only_once).decode


@lru_cache(maxsize=100)
def _quick(missing: frozenset[str]) -> Callable[[bytes], Any]:
    """The same, but blind for double keys, and several times as fast; it may refuse what `_decoder` accepts."""
    if missing.isdisjoint(_CONSTANTS):
        decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
        return decode
    slow = json.JSONDecoder(parse_constant=_constant(missing)).decode
    return lambda raw: slow(raw.decode())


def _constant(missing: frozenset[str]) -> Callable[[str], None]:
    def constant(name: str) -> None:
        if name not in missing:
            raise UnreadableError("", f"{name} is not JSON")

    return constant


class UnreadableError(ValueError):
    """A record that cannot be read: its reason, and the column at fault or ``""``; never a value."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}" if column else reason)
        self.column = column
        self.reason = reason
