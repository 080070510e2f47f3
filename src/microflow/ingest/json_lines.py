"""JSON Lines: an object a line; a line that is none goes to the quarantine.

A block in which every value already has its column's type is converted a column at a time; any other, line by line.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.errors import InputError
from microflow.ingest.block import Block, Refusals
from microflow.ingest.feed import CHUNK_BYTES, LONGEST_LINE
from microflow.ingest.typed import is_text, typed_column
from microflow.records import UnconvertibleError, convert
from microflow.schema import Column, DatasetSchema, Dtype, Record

__all__ = ["read_json_lines"]

#: Lines converted at a time: one that is broken slows down the others of its block.
BLOCK_LINES = 5_000
#: What JSON gives for a value that needs no conversion.
_EXACT: dict[Dtype, set[type]] = {
    Dtype.STRING: {str},
    Dtype.INTEGER: {int},
    Dtype.NUMBER: {int, float},
    Dtype.BOOLEAN: {bool},
    Dtype.DATE: {str},
}

Line = tuple[int, bytes]


def read_json_lines(
    file: IO[bytes], place: str, schema: DatasetSchema, refusals: Refusals, *, first_line: int = 1
) -> Iterator[Block]:
    """Blocks of typed rows. Absent keys are missing values; unknown keys refuse the line, as unknown columns would.

    ``first_line`` is the number of the line at which the file is read.

    Raises:
        InputError: the file holds nothing at all.
    """
    lines = _lines(file, place, first_line, refusals)
    while block := list(islice(lines, BLOCK_LINES)):
        columns = _plain_columns([raw for _, raw in block], schema)
        if columns is not None:
            yield Block(np.array([number for number, _ in block], np.int64), columns)
        else:
            yield _checked(block, schema, refusals)


def _lines(file: IO[bytes], place: str, first: int, refusals: Refusals) -> Iterator[Line]:
    """Lines that are not blank, with their numbers; one that is too long to be held is refused."""
    number = first
    while raw := file.readline(LONGEST_LINE + 1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass
            refusals.add(number, "", f"a line of more than {LONGEST_LINE:,} bytes")
        elif line.strip():
            yield number, line
        number += 1
    if number == 1:
        raise InputError("the file is empty", path=place)


def _plain_columns(raws: list[bytes], schema: DatasetSchema) -> dict[str, pa.Array] | None:
    """The lines as columns, or ``None`` if any of them needs a closer look."""
    names = frozenset(schema.names)
    try:
        found = [_parse_fast(raw.decode()) for raw in raws]
        if not all(map(_is_plain, raws, found)) or not all(map(names.issuperset, found)):
            return None
        return {column.name: _exact([one.get(column.name) for one in found], column) for column in schema.columns}
    except (ValueError, OverflowError, RecursionError):
        return None


def _is_plain(raw: bytes, found: object) -> bool:
    """Whether no key is named twice (as many colons as keys), and no escape hides a NUL or half a surrogate pair."""
    if not isinstance(found, dict) or raw.count(b'":') != len(found):
        return False
    return not any(sign in raw for sign in (b" :", b"\t:", b"\r:", b"\\u"))


def _exact(values: list[Any], column: Column) -> pa.Array:
    """Values that are of the column's type as they are.

    Raises:
        ValueError: some value is not.
    """
    if not {type(value) for value in values} <= _EXACT[column.dtype] | {type(None)}:
        raise UnconvertibleError("not of the column's type")
    array = pa.array(values, column.dtype.arrow)
    if column.dtype is Dtype.NUMBER and pc.all(pc.is_finite(array)).as_py() is False:
        raise UnconvertibleError("not a finite number")
    if array.type != pa.string():
        return array
    text, failures = typed_column(_without_empty(array), column)
    if failures:
        raise UnconvertibleError("not of the column's type")
    return text


def _without_empty(array: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def _checked(block: list[Line], schema: DatasetSchema, refusals: Refusals) -> Block:
    """The lines one by one, those at fault refused."""
    names = frozenset(schema.names)
    accepted: list[tuple[int, Record]] = []
    for number, raw in block:
        column, reason = "", "not a JSON object"
        try:
            accepted.append((number, _record(_parse(raw.decode().strip()), names, schema)))
            continue
        except _FaultError as fault:
            column, reason = fault.column, fault.reason
        except (ValueError, RecursionError):
            pass  # not JSON at all
        refusals.add(number, column, reason, raw.decode(errors="replace").rstrip("\r\n"))
    columns = {
        column.name: pa.array([record[column.name] for _, record in accepted], column.dtype.arrow)
        for column in schema.columns
    }
    return Block(np.array([number for number, _ in accepted], np.int64), columns)


def _record(found: Any, names: frozenset[str], schema: DatasetSchema) -> Record:
    if not isinstance(found, dict):
        raise _FaultError("", "not a JSON object")
    if unknown := found.keys() - names:
        raise _FaultError(min(unknown), "the schema does not describe it")
    record: Record = {}
    for column in schema.columns:
        try:
            value = convert(found.get(column.name), column)
        except UnconvertibleError as error:
            raise _FaultError(column.name, str(error)) from None
        if isinstance(value, str) and ("\0" in value or not is_text(value)):
            raise _FaultError(column.name, "a NUL character or half a surrogate pair")
        record[column.name] = value
    return record


def _refuse_constant(name: str) -> float:
    raise _FaultError("", f"{name} is not JSON")


def _only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _FaultError(next(name for name in names if names.count(name) > 1), "named twice")
    return found


_parse_fast = json.JSONDecoder(parse_constant=_refuse_constant).decode
_parse = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_only_once).decode


class _FaultError(ValueError):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
