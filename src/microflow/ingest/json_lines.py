"""JSON Lines: an object a line; a line that is none goes to the quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa

from microflow.errors import InputError
from microflow.ingest.block import BLOCK_ROWS, Block
from microflow.ingest.quarantine import Quarantine
from microflow.records import UnconvertibleError, convert
from microflow.schema import DatasetSchema, Record

__all__ = ["read_json_lines"]


def read_json_lines(file: IO[bytes], place: str, schema: DatasetSchema, quarantine: Quarantine) -> Iterator[Block]:
    """Blocks of typed rows. Absent keys are missing values; unknown keys quarantine the line, as unknown columns would.

    Raises:
        InputError: the file holds nothing at all.
    """
    records = _records(file, schema, quarantine)
    empty = True
    while block := list(islice(records, BLOCK_ROWS)):
        empty = False
        columns = {
            column.name: pa.array([record[column.name] for _, record in block], column.dtype.arrow)
            for column in schema.columns
        }
        yield Block(np.array([line for line, _ in block], np.int64), columns)
    if empty and not quarantine.total:
        raise InputError("the file is empty", path=place)


def _records(file: IO[bytes], schema: DatasetSchema, quarantine: Quarantine) -> Iterator[tuple[int, Record]]:
    names = frozenset(schema.names)
    for line, raw in enumerate(file, 1):
        stripped = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
        if not stripped.strip():
            continue
        try:
            yield line, _record(_parse(stripped.decode().strip()), names, schema)
        except _FaultError as fault:
            quarantine.add(line, fault.column, fault.reason, raw.decode(errors="replace").rstrip("\r\n"))
        except (ValueError, RecursionError):
            quarantine.add(line, "", "not a JSON object", raw.decode(errors="replace").rstrip("\r\n"))


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
        if isinstance(value, str) and ("\0" in value or not _is_encodable(value)):
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


_parse = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_only_once).decode


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _FaultError(ValueError):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason
