"""The seed's dictionaries as typed columns, ready for COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import StoreError
from microflow.store.bulk import array_literal, document

__all__ = [
    "Dicts",
    "Ids",
    "check_records",
    "check_violations",
    "in_pieces",
    "original_columns",
    "record_columns",
    "violation_columns",
]

Dicts = Sequence[Mapping[str, Any]]
Ids = npt.NDArray[np.int64]

#: Rows that are made into columns while the server stores those before them.
_PIECE_ROWS = 1_000

_RECORD_KEYS = frozenset(
    {
        *("job_id", "record_id", "ordinal", "original_data", "processed_data", "compliance_status", "violation_count"),
        *("violation_types", "processing_time", "anonymization_applied", "released"),
    }
)
_VIOLATION_KEYS = frozenset(
    {"job_id", "record_id", "ordinal", "rule", "field", "severity", "regulation", "article", "start", "end"}
)


def in_pieces(columns: Callable[[Dicts, Ids], pa.Table], rows: Dicts, ids: Ids) -> Iterator[pa.Table]:
    """``columns(rows, ids)`` as several tables, each made when it is asked for."""
    for start in range(0, len(rows), _PIECE_ROWS):
        piece = slice(start, start + _PIECE_ROWS)
        yield columns(rows[piece], ids[piece])


def record_columns(records: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``data_records``; absent keys take the seed's defaults.

    Raises:
        StoreError: a value is of the wrong type.
    """
    now = datetime.now(UTC)
    types = [tuple(record.get("violation_types") or ()) for record in records]
    return _table(
        {
            "id": (ids, pa.int64()),
            "job_id": (_get(records, "job_id"), pa.string()),
            "ordinal": (_get(records, "ordinal"), pa.int64()),
            "record_id": (_texts(records, "record_id"), pa.string()),
            "released": (_get(records, "released", True), pa.bool_()),
            "compliance_status": (_get(records, "compliance_status", True), pa.bool_()),
            "violation_count": (_get(records, "violation_count", 0), pa.int16()),
            "violation_types": ([array_literal(words) for words in types], pa.string()),
            "anonymization_applied": (_get(records, "anonymization_applied", False), pa.bool_()),
            "processing_time": (_get(records, "processing_time", now), pa.timestamp("us", "UTC")),
            "processed_data": (_documents(records, "processed_data"), pa.string()),
        }
    )


def original_columns(records: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``original_records`` for records that bring ``original_data``."""
    return _table(
        {
            "id": (ids, pa.int64()),
            "job_id": (_get(records, "job_id"), pa.string()),
            "ordinal": (_get(records, "ordinal"), pa.int64()),
            "record_id": (_texts(records, "record_id"), pa.string()),
            "original_data": (_documents(records, "original_data"), pa.string()),
        }
    )


def violation_columns(violations: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``violations``; ``rule`` and ``field`` must be given, a span only where there is one.

    Raises:
        StoreError: as in `record_columns`.
    """
    texts = ("job_id", "record_id", "rule", "field")
    described = ("severity", "regulation", "article")
    return _table(
        {
            "id": (ids, pa.int64()),
            **{key: (_texts(violations, key), pa.string()) for key in texts},
            **{key: (_get(violations, key, ""), pa.string()) for key in described},
            "ordinal": (_get(violations, "ordinal"), pa.int64()),
            "span_start": (_get(violations, "start", -1), pa.int32()),
            "span_end": (_get(violations, "end", -1), pa.int32()),
        }
    )


def _get(records: Dicts, key: str, default: object = None) -> list[Any]:
    return [record.get(key, default) for record in records]


def _texts(records: Dicts, key: str) -> list[str | None]:
    return [None if (value := record.get(key)) is None else str(value) for record in records]


def _documents(records: Dicts, key: str) -> list[str | None]:
    return [document(record.get(key)) for record in records]


def check_records(records: Dicts) -> None:
    """Refuse unknown keys, and records without ``job_id``.

    Raises:
        StoreError: names the record by its position.
    """
    _check_keys(records, _RECORD_KEYS, required=("job_id",))


def check_violations(violations: Dicts) -> None:
    """Refuse unknown keys, and violations without ``job_id``, ``rule`` or ``field``.

    Raises:
        StoreError: names the violation by its position.
    """
    _check_keys(violations, _VIOLATION_KEYS, required=("job_id", "rule", "field"))


def _check_keys(records: Dicts, allowed: frozenset[str], required: Sequence[str]) -> None:
    for index, record in enumerate(records):
        if not allowed.issuperset(record):
            hint = f"keys are: {', '.join(sorted(allowed))}"
            raise StoreError(f"record {index}: unknown key {min(record.keys() - allowed)!r}", hint=hint)
        for key in required:
            if record.get(key) is None:
                raise StoreError(f"record {index}: {key!r} is missing")


def _table(columns: Mapping[str, tuple[Sequence[Any] | Ids, pa.DataType]]) -> pa.Table:
    arrays = {}
    for name, (values, kind) in columns.items():
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            # Arrow's own message quotes the value.
            raise StoreError(f"{name!r} holds a value that is not of type {kind}") from None
    return pa.table(arrays)
